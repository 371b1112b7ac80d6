"""Reasons in Korean, from the emotions that KOTE's annotators marked.

A reason names only what was marked and, now and then, quotes a word of the comment that
carries a marked emotion. It claims nothing else about the comment.
"""

import random
import re

from data import NEGATIVE, NO_EMOTION, POSITIVE, Comment

# Noun phrases for each emotion, so that every one fits every sentence below.
NOUNS: dict[int, tuple[str, ...]] = {
    0: ("불만", "불평"),
    1: ("호의", "호감"),
    2: ("감동", "감탄"),
    3: ("지긋지긋함",),
    4: ("고마움", "감사의 마음"),
    5: ("슬픔",),
    6: ("분노",),
    7: ("존경심", "존경"),
    8: ("기대감",),
    9: ("상대를 얕보는 태도", "무시하는 태도"),
    10: ("안타까움", "실망감"),
    11: ("비장함",),
    12: ("의심", "불신"),
    13: ("뿌듯함",),
    14: ("편안함",),
    15: ("관심", "흥미"),
    16: ("아끼는 마음",),
    17: ("부끄러움",),
    18: ("두려움",),
    19: ("절망감",),
    20: ("한심하다는 시선", "한심해하는 마음"),
    21: ("거부감",),
    22: ("짜증",),
    23: ("황당함", "어이없어하는 마음"),
    25: ("패배감",),
    26: ("귀찮음",),
    27: ("지친 마음", "힘겨움"),
    28: ("즐거움", "신나는 마음"),
    29: ("깨달음",),
    30: ("죄책감",),
    31: ("증오", "혐오감"),
    32: ("흐뭇함",),
    33: ("당혹감", "난처함"),
    34: ("경악",),
    35: ("부담감", "꺼리는 마음"),
    36: ("서러움",),
    37: ("지루함",),
    38: ("연민",),
    39: ("놀라움",),
    40: ("행복감",),
    41: ("불안감", "걱정"),
    42: ("기쁨",),
    43: ("신뢰", "안도감"),
}

# Word stems that carry an emotion by themselves; quoted only where that emotion was marked.
CUES: dict[int, str] = {
    0: "불만|답답",
    1: "응원|환영|좋아|좋네|좋은|좋다|최고|파이팅|화이팅|축하",
    2: "감동|대박|멋지|멋있|대단|훌륭|최고",
    3: "지긋지긋|지겹|지겨",
    4: "감사|고맙|고마",
    5: "슬프|슬픈|슬퍼|눈물",
    6: "화나|화난|열받|빡치|분노|미친",
    7: "존경|대단|훌륭",
    8: "기대|기다리|기다려",
    10: "안타깝|안타까|실망|아쉽|아쉬",
    12: "의심|거짓|설마|못믿|사기",
    13: "뿌듯|자랑스",
    14: "편안|편하|힐링|시원",
    15: "궁금|신기",
    16: "사랑|건강하",
    17: "부끄|창피|쪽팔",
    18: "무섭|무서|소름",
    19: "절망|망했|끝났",
    20: "한심|무능|멍청|바보",
    21: "역겹|역겨|더럽|더러|징그",
    22: "짜증|시끄",
    23: "어이없|어이가|황당|기가막|기가 막",
    27: "힘들|지친|지쳐|피곤",
    28: "재밌|재미있|웃긴|웃겨|웃기네|즐거|즐겁|신나",
    31: "혐오|쓰레기|극혐|꺼져",
    32: "귀엽|귀여|예쁘|예쁜|이쁘|이쁜|흐뭇",
    33: "당황",
    36: "서럽|서러|억울",
    37: "재미없|노잼|지루",
    38: "불쌍|가엾|안쓰",
    39: "놀라|놀랐|깜짝|헐",
    40: "행복",
    41: "걱정|불안|위험",
    42: "기쁘|기뻐|반갑|반가|좋아|좋네",
    43: "믿음|믿고|든든|다행|안심",
}

# Marked in a quarter of KOTE's comments or more: they say less about one comment than rarer ones.
COMMON = frozenset({0, 1, 8, 10, 12, 15, 20, 22, 23})

# What is not a word but carries an emotion.
SIGNS: dict[int, str] = {5: "[ㅠㅜ]{2}", 23: "ㅋㅋ", 28: "ㅋㅋ|ㅎㅎ", 32: "ㅎㅎ", 42: "ㅎㅎ"}

_POSITIVE = (
    "{A와} {B가} 잘 드러나 있어 긍정적인 댓글로 판단됩니다.",
    "작성자는 {A와} {B를} 표현하고 있습니다. 전반적으로 긍정적인 분위기가 느껴집니다.",
    "글에 {A가} 담겨 있고 {B도} 함께 느껴져 긍정으로 분류했습니다.",
    "전체적으로 {A가} 두드러지며, {B도} 엿보이는 긍정적인 반응입니다.",
    "{A와} {B} 같은 긍정적인 감정이 중심을 이루고 있습니다.",
)
_POSITIVE_ONE = (
    "{A가} 잘 드러나 있어 긍정적인 댓글로 판단됩니다.",
    "작성자는 {A를} 표현하고 있으며, 전반적으로 긍정적인 분위기입니다.",
    "글 전체에서 {A가} 느껴져 긍정으로 분류했습니다.",
)
_NEGATIVE = (
    "{A와} {B가} 뚜렷하게 드러나 있어 부정적인 댓글로 판단됩니다.",
    "작성자는 {A와} {B를} 드러내고 있습니다. 전반적으로 부정적인 분위기가 느껴집니다.",
    "글에 {A가} 담겨 있고 {B도} 함께 느껴져 부정으로 분류했습니다.",
    "전체적으로 {A가} 두드러지며, {B도} 엿보이는 부정적인 반응입니다.",
    "{A와} {B} 같은 부정적인 감정이 중심을 이루고 있습니다.",
)
_NEGATIVE_ONE = (
    "{A가} 뚜렷하게 드러나 있어 부정적인 댓글로 판단됩니다.",
    "작성자는 {A를} 드러내고 있으며, 전반적으로 부정적인 분위기입니다.",
    "글 전체에서 {A가} 느껴져 부정으로 분류했습니다.",
)
_QUOTED = (
    "'{q}'{라는} 표현에서 {A를} 읽을 수 있고, {B도} 함께 느껴집니다.",
    "'{q}'{라는} 말에 {A가} 담겨 있으며, {B도} 엿보입니다.",
    "'{q}'{라는} 표현에 {A가} 잘 드러나 있고, 글 전체에서 {B도} 느껴집니다.",
)
_QUOTED_ONE = (
    "'{q}'{라는} 표현에서 {A를} 읽을 수 있습니다.",
    "'{q}'{라는} 말에 {A가} 잘 드러나 있습니다.",
)
_CONCEDED = (
    "{O도} 조금 엿보이지만 {A와} {B가} 더 크게 드러납니다.",
    "{O도} 섞여 있으나, 글의 중심은 {A와} {B} 쪽에 있습니다.",
)
_MIXED = (
    "{P가} 느껴지는 한편 {N도} 드러나, 어느 한쪽으로 기울지 않습니다.",
    "{P와} {N가} 나란히 나타나, 긍정과 부정이 비슷한 무게로 섞여 있습니다.",
    "{N가} 담겨 있으면서도 {P가} 함께 느껴져 중립으로 판단됩니다.",
    "{P를} 표현하면서도 {N를} 감추지 않아, 긍정과 부정이 맞서고 있습니다.",
    "{N도} 있고 {P도} 있어, 전체 감정을 한쪽으로 단정하기 어렵습니다.",
    "{P} 같은 긍정적인 감정과 {N} 같은 부정적인 감정이 한 댓글에 섞여 있습니다.",
    "한편으로는 {P가}, 다른 한편으로는 {N가} 느껴지는 복합적인 반응입니다.",
    "{P가} 보이지만 {N도} 있어 긍정으로만 읽히지는 않습니다.",
    "{N가} 보이지만 {P도} 있어 부정으로만 읽히지는 않습니다.",
    "작성자는 {P와} 함께 {N도} 드러내고 있어, 감정이 서로 엇갈립니다.",
    "글에 {P와} {N가} 고르게 섞여 있어 중립으로 분류했습니다.",
)
_MIXED_ASKED = (
    "묻는 글에 {P와} {N가} 함께 담겨 있어, 어느 쪽으로도 기울지 않습니다.",
    "질문 속에 {P도} {N도} 비쳐, 긍정이나 부정으로 단정하기 어렵습니다.",
    "{P를} 보이며 묻고 있지만 {N도} 느껴져 중립으로 판단됩니다.",
)
_MIXED_QUOTED_POSITIVE = (
    "'{q}'{라는} 표현에서 {P가} 느껴지지만 {N도} 함께 드러나 중립으로 판단됩니다.",
    "'{q}'{라는} 표현에 {P가} 담겨 있으나, 글에는 {N도} 섞여 있어 감정이 엇갈립니다.",
)
_MIXED_QUOTED_NEGATIVE = (
    "'{q}'{라는} 표현에서 {N를} 읽을 수 있지만, {P도} 함께 느껴져 한쪽으로 기울지 않습니다.",
    "'{q}'{라는} 표현에 {N가} 담겨 있으나, {P도} 있어 부정으로만 보기는 어렵습니다.",
)
_PLAIN = (
    "뚜렷한 긍정이나 부정의 감정이 드러나지 않는 담담한 글입니다.",
    "특별한 감정 표현이 거의 없어 중립으로 판단됩니다.",
    "감정을 강하게 드러내지 않고 담담하게 쓰여 있어 중립으로 분류했습니다.",
)
_PLAIN_ASKED = ("감정을 드러내기보다 묻는 글이어서 중립으로 판단됩니다.",)
_FAINT = (
    "{A가} 살짝 비칠 뿐, 뚜렷한 긍정이나 부정의 감정은 드러나지 않습니다.",
    "{A가} 조금 느껴지지만 감정 표현이 약해 중립으로 판단됩니다.",
    "{A} 말고는 이렇다 할 감정이 나타나지 않아 중립으로 분류했습니다.",
    "{A를} 내비치는 정도에 그쳐, 감정의 방향이 분명하지 않습니다.",
)

_PARTICLES = {
    "가": ("이", "가"),
    "를": ("을", "를"),
    "와": ("과", "와"),
    "도": ("도", "도"),
    "라는": ("이라는", "라는"),
}


def rationale(comment: Comment, chance: random.Random) -> str:
    """One or two sentences that give the marked emotions as the verdict's reason.

    Chance chooses among the emotions, and the sentence then follows from them and from what
    the comment shows (a telling word, a question). A greedy answer is the likeliest one: from
    sentences drawn blindly a model would learn the most frequent for all comments.
    """
    marked = [e for e in comment.emotions if e != NO_EMOTION]
    positive = [e for e in marked if e in POSITIVE]
    negative = [e for e in marked if e in NEGATIVE]
    if comment.label == 1:
        return _neutral(comment.text, marked, positive, negative, chance)
    own, other = (positive, negative) if comment.label == 0 else (negative, positive)
    quote = _quote(comment.text, own, chance)
    if quote and chance.random() < 0.7:
        word, emotion = quote
        rest = [e for e in own if e != emotion]
        chosen = [emotion, *_telling(rest, 1, chance)]
        templates = _QUOTED if rest else _QUOTED_ONE
        return _fill(_pick(templates, *chosen), chance, q=word, **_named("AB", chosen))
    chosen = _telling(own, 2, chance)
    if len(chosen) == 1:
        one = _POSITIVE_ONE if comment.label == 0 else _NEGATIVE_ONE
        return _fill(_pick(one, *chosen), chance, A=chosen[0])
    if other and len(own) <= 4 * len(other):
        slots = _named("AB", chosen) | {"O": chance.choice(other)}
        return _fill(_pick(_CONCEDED, *chosen), chance, **slots)
    two = _POSITIVE if comment.label == 0 else _NEGATIVE
    return _fill(_pick(two, *chosen), chance, **_named("AB", chosen))


def _neutral(text: str, marked, positive, negative, chance: random.Random) -> str:
    asked = "?" in text
    if positive and negative:
        quote = _quote(text, positive + negative, chance)
        if quote and chance.random() < 0.7:
            word, emotion = quote
            if emotion in POSITIVE:
                slots = {"P": emotion, "N": _telling(negative, 1, chance)[0]}
                return _fill(_pick(_MIXED_QUOTED_POSITIVE, *slots.values()), chance, q=word, **slots)
            slots = {"P": _telling(positive, 1, chance)[0], "N": emotion}
            return _fill(_pick(_MIXED_QUOTED_NEGATIVE, *slots.values()), chance, q=word, **slots)
        slots = {"P": _telling(positive, 1, chance)[0], "N": _telling(negative, 1, chance)[0]}
        return _fill(_pick(_MIXED_ASKED if asked else _MIXED, *slots.values()), chance, **slots)
    if marked:
        emotion = chance.choice(marked)
        return _fill(_pick(_FAINT, emotion), chance, A=emotion)
    return chance.choice(_PLAIN_ASKED if asked else _PLAIN)


def _telling(emotions: list[int], count: int, chance: random.Random) -> list[int]:
    """Up to `count` of the emotions, the rarer ones twice as likely."""
    left, chosen = list(emotions), []
    while left and len(chosen) < count:
        weights = [1 if e in COMMON else 2 for e in left]
        chosen += chance.choices(left, weights)
        left.remove(chosen[-1])
    return chosen


def _pick(templates: tuple[str, ...], *emotions: int) -> str:
    """The sentence for these emotions: always the same one."""
    first, *rest = emotions
    return templates[(first + 3 * sum(rest)) % len(templates)]


def _named(names: str, emotions: list[int]) -> dict[str, int]:
    return dict(zip(names, emotions))


def _quote(text: str, emotions: list[int], chance: random.Random) -> tuple[str, int] | None:
    """A word or sign of the comment (an exact substring) that carries one of the emotions."""
    found = []
    for word in text.split():
        word = re.sub(r"^[^가-힣]+|[^가-힣]+$", "", word)
        if re.fullmatch(r"[가-힣]{2,8}", word):
            found += [(word, e) for e in emotions if e in CUES and re.search(CUES[e], word)]
    if not found:
        signs = ((re.search(SIGNS[e], text), e) for e in emotions if e in SIGNS)
        found = [(sign.group(), e) for sign, e in signs if sign]
    return chance.choice(found) if found else None


def _fill(template: str, chance: random.Random, q: str = "", **emotions: int) -> str:
    """Fills {A}, {A가}, {A를}, {A와}, {A도} with the emotion's noun and its particle."""

    def noun(slot: re.Match) -> str:
        word = chance.choice(NOUNS[emotions[slot[1]]])
        return word + (with_particle(word, slot[2]) if slot[2] else "")

    if q:
        template = template.replace("{q}", q).replace("{라는}", with_particle(q, "라는"))
    return re.sub(r"\{([A-Z])([가를와도]?)\}", noun, template)


def with_particle(word: str, particle: str) -> str:
    """The form of a particle (named by its vowel form) that follows `word`."""
    closed = "가" <= word[-1] <= "힣" and (ord(word[-1]) - ord("가")) % 28 != 0
    return _PARTICLES[particle][0 if closed else 1]

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
    5: "슬프|슬픈|슬퍼|눈물|ㅠㅠ|ㅜㅜ",
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
    "{P와} {N가} 함께 나타나 어느 한쪽으로 기울지 않습니다.",
    "한편으로는 {P가}, 다른 한편으로는 {N가} 느껴져 긍정과 부정이 섞여 있습니다.",
    "{P도} 있지만 {N도} 비슷하게 드러나 중립으로 판단됩니다.",
    "긍정적인 {P와} 부정적인 {N가} 엇갈려 중립으로 분류했습니다.",
)
_PLAIN = (
    "뚜렷한 긍정이나 부정의 감정이 드러나지 않는 담담한 글입니다.",
    "특별한 감정 표현이 거의 없어 중립으로 판단됩니다.",
    "감정을 강하게 드러내지 않고 담담하게 쓰여 있어 중립으로 분류했습니다.",
)
_FAINT = (
    "{A가} 살짝 비칠 뿐, 뚜렷한 긍정이나 부정의 감정은 드러나지 않습니다.",
    "{A가} 조금 느껴지지만 감정 표현이 약해 중립으로 판단됩니다.",
)

_PARTICLES = {
    "가": ("이", "가"),
    "를": ("을", "를"),
    "와": ("과", "와"),
    "도": ("도", "도"),
    "라는": ("이라는", "라는"),
}


def rationale(comment: Comment, chance: random.Random) -> str:
    """One or two sentences that give the marked emotions as the verdict's reason."""
    marked = [e for e in comment.emotions if e != NO_EMOTION]
    positive = [e for e in marked if e in POSITIVE]
    negative = [e for e in marked if e in NEGATIVE]
    if comment.label == 1:
        return _neutral(marked, positive, negative, chance)
    own, other = (positive, negative) if comment.label == 0 else (negative, positive)
    quote = _quote(comment.text, own, chance)
    chosen = chance.sample(own, min(2, len(own)))
    if quote and chance.random() < 0.6:
        word, emotion = quote
        rest = [e for e in own if e != emotion]
        chosen = [emotion, chance.choice(rest)] if rest else [emotion]
        templates = _QUOTED if rest else _QUOTED_ONE
        return _fill(chance.choice(templates), chance, q=word, **_named("AB", chosen))
    if len(chosen) == 1:
        one = _POSITIVE_ONE if comment.label == 0 else _NEGATIVE_ONE
        return _fill(chance.choice(one), chance, A=chosen[0])
    if other and chance.random() < 0.5:
        slots = _named("AB", chosen) | {"O": chance.choice(other)}
        return _fill(chance.choice(_CONCEDED), chance, **slots)
    two = _POSITIVE if comment.label == 0 else _NEGATIVE
    return _fill(chance.choice(two), chance, **_named("AB", chosen))


def _neutral(marked, positive, negative, chance: random.Random) -> str:
    if positive and negative:
        slots = {"P": chance.choice(positive), "N": chance.choice(negative)}
        return _fill(chance.choice(_MIXED), chance, **slots)
    if marked and chance.random() < 0.6:
        return _fill(chance.choice(_FAINT), chance, A=chance.choice(marked))
    return chance.choice(_PLAIN)


def _named(names: str, emotions: list[int]) -> dict[str, int]:
    return dict(zip(names, emotions))


def _quote(text: str, emotions: list[int], chance: random.Random) -> tuple[str, int] | None:
    """A word of the comment (an exact substring) that carries one of the emotions."""
    found = []
    for word in text.split():
        word = re.sub(r"^[^가-힣]+|[^가-힣]+$", "", word)
        if re.fullmatch(r"[가-힣]{2,8}", word):
            found += [(word, e) for e in emotions if e in CUES and re.search(CUES[e], word)]
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
    closed = (ord(word[-1]) - ord("가")) % 28 != 0
    return _PARTICLES[particle][0 if closed else 1]

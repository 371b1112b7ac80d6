"""Short reasons out of written ones: the comment's telling words, quoted, and what they do.

A written reason retells the comment and the video; a model of 270M parameters learns the retelling and invents. What it
can learn is where to point and which verb fits. So of `칭찬 속에 묻힌 윙백의 '수비' 책임을 따져 나무랍니다.` it is taught
`'두 실점 다 본인'이라며 나무랍니다.`: words that stand in the comment, and the verb that a reader chose.
"""

import re

from prompt_profile import SENTIMENTS

SHORTEST, LONGEST = 5, 16  # characters of a quotation

# Verbs that can follow a quotation; those of the first set tell or ask, the others feel or judge.
TELLS = frozenset(
    "묻습니다 말합니다 적습니다 설명합니다 확인합니다 알립니다 지적합니다 밝힙니다 요청합니다 부탁합니다 인사합니다 바로잡습니다 조언합니다 "
    "안내합니다 칭찬합니다 비판합니다 추측합니다 외칩니다 제안합니다 짐작합니다 고백합니다 항의합니다 농담합니다 평합니다 짚습니다 "
    "비난합니다 호소합니다 응원합니다 축하합니다 답합니다".split()
)
FEELS = frozenset(
    "놀립니다 웃습니다 즐깁니다 나무랍니다 비웃습니다 감탄합니다 꼬집습니다 비꼽니다 따집니다 불평합니다 깎아내립니다 탓합니다 "
    "못마땅해합니다 반깁니다 치켜세웁니다 재미있어합니다 꾸짖습니다 즐거워합니다 귀여워합니다 실망합니다 고마워합니다 장난칩니다 "
    "기뻐합니다 좋아합니다 흐뭇해합니다 원망합니다 아쉬워합니다 의심합니다 뭉클해합니다 걱정합니다 분노합니다 쏘아붙입니다 타박합니다 "
    "기립니다 자랑합니다 한탄합니다 감동합니다 답답해합니다 어이없어합니다 서운해합니다 놀라워합니다 폭소합니다 투덜댑니다 부러워합니다 "
    "그리워합니다 슬퍼합니다 안타까워합니다 기대합니다 무서워합니다 불안해합니다 짜증냅니다 질색합니다 조롱합니다".split()
)
# Other words for the same, by the sentence's last word or two.
SAME = {
    "물어봅니다": "묻습니다", "질문합니다": "묻습니다", "물음입니다": "묻습니다", "질문입니다": "묻습니다", "묻고 있습니다": "묻습니다",
    "적었습니다": "적습니다", "적어 줍니다": "적습니다", "적어 둡니다": "적습니다", "알려 줍니다": "알려 줍니다", "일러 줍니다": "알려 줍니다",
    "짚어 줍니다": "짚습니다", "바로잡아 줍니다": "바로잡습니다", "추어올립니다": "치켜세웁니다", "추켜세웁니다": "치켜세웁니다",
    "높이 삽니다": "높이 평가합니다", "높이 평가합니다": "높이 평가합니다", "청합니다": "부탁합니다", "요청입니다": "요청합니다",
    "부탁입니다": "부탁합니다", "제안입니다": "제안합니다", "농담입니다": "농담합니다", "우스개입니다": "농담합니다", "말장난입니다": "농담합니다",
    "익살입니다": "농담합니다", "장난입니다": "장난칩니다", "놀이입니다": "장난칩니다", "장난을 칩니다": "장난칩니다", "장난을 겁니다": "장난칩니다",
    "놉니다": "장난칩니다", "농담을 합니다": "농담합니다", "불평입니다": "불평합니다", "불만입니다": "불만을 드러냅니다", "칭찬입니다": "칭찬합니다",
    "감탄입니다": "감탄합니다", "인사입니다": "인사합니다", "비판입니다": "비판합니다", "화를 냅니다": "화를 냅니다",
    "짜증을 냅니다": "짜증을 냅니다", "싫증을 냅니다": "싫증을 냅니다", "고마움을 전합니다": "고마움을 전합니다",
    "고마움을 나타냅니다": "고마움을 전합니다", "감사를 전합니다": "고마움을 전합니다", "감동을 전합니다": "감동을 전합니다",
    "감동을 나타냅니다": "감동을 전합니다", "감동한 말입니다": "감동합니다", "재미를 전합니다": "재미있어합니다", "장단을 맞춥니다": "장단을 맞춥니다",
    "맞장구를 칩니다": "맞장구를 칩니다", "웃음을 터뜨립니다": "웃음을 터뜨립니다", "크게 웃습니다": "크게 웃습니다", "함께 웃습니다": "함께 웃습니다",
    "애정을 드러냅니다": "애정을 드러냅니다", "애정을 보입니다": "애정을 드러냅니다", "호감을 보입니다": "호감을 드러냅니다",
    "호감을 드러냅니다": "호감을 드러냅니다", "불만을 말합니다": "불만을 드러냅니다", "불만을 드러냅니다": "불만을 드러냅니다",
    "불만을 보입니다": "불만을 드러냅니다", "불만을 나타냅니다": "불만을 드러냅니다", "불만을 터뜨립니다": "불만을 터뜨립니다",
    "실망을 드러냅니다": "실망을 드러냅니다", "실망을 나타냅니다": "실망을 드러냅니다", "분노를 드러냅니다": "분노를 드러냅니다",
    "분통을 터뜨립니다": "분통을 터뜨립니다", "거부감을 드러냅니다": "거부감을 드러냅니다", "정답게 놀립니다": "정답게 놀립니다",
    "정겹게 놀립니다": "정답게 놀립니다", "다정하게 놀립니다": "정답게 놀립니다", "친근하게 놀립니다": "정답게 놀립니다",
    "귀엽게 놀립니다": "정답게 놀립니다", "유쾌하게 놀립니다": "유쾌하게 놀립니다", "짓궂게 놀립니다": "짓궂게 놀립니다",
    "놀리며 웃습니다": "놀리며 웃습니다", "웃으며 놀립니다": "놀리며 웃습니다", "따져 묻습니다": "따져 묻습니다", "시각을 적었습니다": "재생 시각을 짚습니다",
    "시각을 적습니다": "재생 시각을 짚습니다", "시각을 가리킵니다": "재생 시각을 짚습니다", "시각을 표시합니다": "재생 시각을 짚습니다",
    "시각을 알립니다": "재생 시각을 짚습니다", "반응입니다": "", "너스레를 떱니다": "너스레를 떱니다", "능청을 떱니다": "너스레를 떱니다",
    "익살을 부립니다": "너스레를 떱니다", "혀를 내두릅니다": "혀를 내두릅니다", "혀를 찹니다": "혀를 찹니다", "한숨을 쉽니다": "한숨을 쉽니다",
    "박수를 보냅니다": "박수를 보냅니다", "응원을 보냅니다": "응원합니다", "소식을 전합니다": "소식을 전합니다", "함께 기뻐합니다": "함께 기뻐합니다",
    "한탄입니다": "한탄합니다", "탄식입니다": "한탄합니다", "비난입니다": "비난합니다", "정보입니다": "알려 줍니다",
}  # fmt: skip
# 「놀리는 말입니다」 says 놀립니다.
SAYS = {
    "놀리는": "놀립니다", "비꼬는": "비꼽니다", "감탄하는": "감탄합니다", "나무라는": "나무랍니다", "칭찬하는": "칭찬합니다", "웃는": "웃습니다",
    "비웃는": "비웃습니다", "즐기는": "즐깁니다", "못마땅해하는": "못마땅해합니다", "따지는": "따집니다", "꼬집는": "꼬집습니다",
    "응원하는": "응원합니다", "묻는": "묻습니다", "확인하는": "확인합니다", "반기는": "반깁니다", "아쉬워하는": "아쉬워합니다",
    "알려 주는": "알려 줍니다", "부탁하는": "부탁합니다", "인사하는": "인사합니다", "원망하는": "원망합니다", "깎아내리는": "깎아내립니다",
}  # fmt: skip


# Verbs that a small model doesn't tell apart, by the one that fits wherever they do; for 긍정, 중립, 부정.
COARSE = (
    {
        "장난스럽게 즐깁니다": "놀립니다 정답게 짓궂게 유쾌하게 장난칩니다 농담합니다 너스레를 즐깁니다 재미있어합니다 장단을 맞장구를",
        "즐거워합니다": "웃습니다 크게 함께 폭소합니다 웃음을 즐거워합니다",
        "칭찬합니다": "칭찬합니다 치켜세웁니다 높이 평합니다",
        "감탄합니다": "감탄합니다 놀라워합니다 혀를 외칩니다",
        "고마움을 전합니다": "고마워합니다 고마움을",
        "감동을 전합니다": "감동합니다 감동을 뭉클해합니다 기립니다 그리워합니다",
        "애정을 드러냅니다": "귀여워합니다 흐뭇해합니다 애정을 좋아합니다 호감을",
        "반깁니다": "반깁니다 기뻐합니다 기대합니다",
    },
    {
        "묻습니다": "묻습니다 확인합니다",
        "알려 줍니다": "알려 알립니다 설명합니다 안내합니다 조언합니다 소식을 답합니다",
        "적습니다": "적습니다 말합니다 밝힙니다 짚습니다",
        "부탁합니다": "부탁합니다 요청합니다 제안합니다",
        "추측합니다": "추측합니다 짐작합니다",
    },
    {
        "비꼽니다": "비꼽니다 비웃습니다 조롱합니다",
        "깎아내립니다": "깎아내립니다 평합니다",
        "비판합니다": "비판합니다 나무랍니다 꾸짖습니다 꼬집습니다 비난합니다 지적합니다 따집니다 따져 탓합니다 타박합니다 쏘아붙입니다 항의합니다",
        "불만을 드러냅니다": "불평합니다 못마땅해합니다 불만을 짜증을 싫증을 투덜댑니다 답답해합니다 거부감을 질색합니다 짜증냅니다 어이없어합니다",
        "아쉬워합니다": "아쉬워합니다 실망합니다 실망을 서운해합니다 원망합니다 한탄합니다 한숨을 안타까워합니다",
        "화를 냅니다": "화를 분노합니다 분노를 분통을",
    },
)
MERGED = tuple({word: verb for verb, words in label.items() for word in words.split()} for label in COARSE)


def short_reason(comment: str, reason: str, label: int, answer: dict | None = None) -> str:
    """The short form of a written reason, or nothing if its verb or its words aren't told apart. `label` indexes SENTIMENTS.
    `answer` is the profile's: where it has endings, only these are taught."""
    answer, verb = answer or {}, verb_of(reason)
    short = re.fullmatch(r"'([^']{1,20})'\S{1,4} ([^'.]{2,30})\.", reason)
    if short and short[1] in comment:
        quoted = short[1]
        if not verb:  # one word of another kind is taught; what tells more than the comment is not
            if len(short[2].split()) > 1:
                return ""
            if "endings" not in answer:
                return reason
            verb = short[2]
    else:
        quoted = words_of(comment, reason, verb) if verb else ""
    return composed(quoted, backed(comment, merged(comment, verb, label), label, answer)) if quoted else ""


def merged(comment: str, verb: str, label: int) -> str:
    """The verb that is taught for `verb`; laughter is heard."""
    found = MERGED[label].get(verb.split()[0], verb)
    laughs = re.search("[ㅋㅎ]{2}", comment)
    if laughs and found in ("장난스럽게 즐깁니다", "즐거워합니다"):
        return "웃으며 즐거워합니다"
    return "비웃습니다" if laughs and found == "비꼽니다" else found


def backed(comment: str, verb: str, label: int, answer: dict) -> str:
    """The verb, if the label's endings have it and the comment has what it needs; or else the label's first ending."""
    if "endings" not in answer:
        return verb
    sentiment, needs = SENTIMENTS[label], answer.get("needs", {})
    cues = answer.get("cues", {}).get(sentiment, {}).values()
    first, *others = (ending.split(" ", 1)[1].rstrip(".") for ending in [*answer["endings"][sentiment], *cues])
    lacks = any(word in verb and not any(mark in comment for mark in marks) for word, marks in needs.items())
    return verb if verb in others and not lacks else first


def verb_of(reason: str) -> str:
    """What the reason's last sentence says that the comment does."""
    last = re.split(r"(?<=[.!?])\s+", reason.strip())[-1].rstrip(".")
    words = re.sub(r"'[^']*'\S*", "", last).split()
    if not words:
        return ""
    two, one = " ".join(words[-2:]), words[-1]
    if two in SAME:
        return SAME[two]
    if len(words) > 1 and one in ("말입니다", "댓글입니다", "물음입니다", "질문입니다", "농담입니다", "인사입니다", "장난입니다"):
        for end, verb in SAYS.items():
            if two.startswith(end) or " ".join(words[-3:]).startswith(end):
                return verb
    if one in SAME:
        return SAME[one]
    return one if one in TELLS or one in FEELS else ""


def words_of(comment: str, reason: str, verb: str) -> str:
    """The telling words: the reason's own quotation, a little of what follows it, or all of a short comment."""
    found = [q for q in re.findall(r"'([^']+)'", reason) if q in comment and len(q) <= LONGEST]
    if found:
        return grown(comment, max(found, key=len))
    time = re.search(r"\d{1,2}:\d\d(?::\d\d)?", comment)
    if time and "시각" in verb:
        return time.group()
    whole = trimmed(comment)
    if len(whole) <= LONGEST:
        return whole
    question = re.search(r"([^?.!\n]*)\?", comment)
    if question and verb in ("묻습니다", "확인합니다", "따져 묻습니다"):
        return tail(question.group(1))
    return ""


def grown(comment: str, quoted: str) -> str:
    """A quotation of a word or two with the words after it, in Korean the verb, or, at the end, with those before."""
    start = comment.index(quoted)
    end = start + len(quoted)
    while end - start < SHORTEST + 3:
        following = re.match(r"[^\s'.!?,~()\[\]]*\s?[^\s'.!?,~()\[\]]+", comment[end:])
        if not following or end + following.end() - start > LONGEST:
            break
        end += following.end()
    while end - start < SHORTEST:
        before = re.search(r"[^\s'.!?,~()\[\]]+\s?[^\s'.!?,~()\[\]]*$", comment[:start])
        if not before or end - before.start() > LONGEST:
            break
        start = before.start()
    return trimmed(comment[start:end])


def tail(text: str) -> str:
    """The last words that fit."""
    words, kept = text.split(), ""
    while words and len(words[-1]) + 1 + len(kept) <= LONGEST:
        kept = (words.pop() + " " + kept).strip()
    return kept


def trimmed(text: str) -> str:
    """Without a line's end, laughter and marks behind the words; all of it if there is nothing else."""
    line = text.split("\n")[0].replace("'", "").strip() if "'" not in text else ""
    bare = re.sub(r"[\sㅋㅎㅠㅜ.!~,;^]+$", "", line)
    return bare or line[:LONGEST]


def composed(quoted: str, verb: str) -> str:
    """`'…'라며 감탄합니다.`, with the particle that the last letter takes."""
    last = quoted[-1]
    closed = last in "013678LMNRlmnr" or "가" <= last <= "힣" and (ord(last) - 0xAC00) % 28 > 0
    told = verb in TELLS or verb in ("알려 줍니다", "소식을 전합니다", "재생 시각을 짚습니다")
    return f"'{quoted}'{'이' if closed else ''}{'라고' if told else '라며'} {verb}."

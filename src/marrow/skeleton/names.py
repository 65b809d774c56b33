"""What the names of joints tell: which is left and which right, and where hips and shoulders are.

Software writes a side as a word (LeftArm, arm_left, MANO_IZQ, 左足), as one letter that stands apart (L_Arm, arm.l,
HandL, LArm, lThigh), or as one letter right before a word for a part of the body (lfemur, Lhip). One letter before
anything else is none: `lower` is no partner of `rower`.
"""

import re
from collections.abc import Iterator, Sequence

# A word for left, and what then stands for right. Words of languages stand alone (between other signs or by capitals);
# "left" is looked for anywhere, since nothing else has a partner with "right" in its place.
_ANYWHERE = (("left", "right"), ("左", "右"), ("왼", "오른"), ("лев", "прав"), ("ひだり", "みぎ"))
_WORDS = (
    *(("izquierda", "derecha"), ("izquierdo", "derecho"), ("izq", "der"), ("izq", "dcha"), ("izq", "dcho")),
    *(("gauche", "droite"), ("gauche", "droit"), ("links", "rechts"), ("linke", "rechte"), ("linker", "rechter")),
    *(("sinistra", "destra"), ("sinistro", "destro"), ("sx", "dx"), ("esquerda", "direita"), ("esquerdo", "direito")),
    *(("esq", "dir"), ("lewy", "prawy"), ("lewa", "prawa"), ("lewe", "prawe"), ("vänster", "höger")),
    *(("venstre", "højre"), ("venstre", "høyre"), ("sol", "sağ"), ("sol", "sag")),
    *(("lt", "rt"), ("lft", "rgt"), ("lf", "rf")),
)
# What a single letter may stand right before, without a capital between them.
_PARTS_OF_THE_BODY = (
    *("hip", "buttock", "up(?:per)?[ _]?leg", "low(?:er)?[ _]?leg", "leg", "thigh", "femur", "knee", "patella"),
    *("shin", "calf", "tibia", "fibula", "ankle", "foot", "feet", "heel", "toe", "ball"),
    *("collar", "clav", "scapula", "shou?ld", "up(?:per)?[ _]?arm", "low(?:er)?[ _]?arm", "fore[ _]?arm", "arm"),
    *("humerus", "elbow", "radius", "ulna", "wrist", "hand", "palm", "(?:meta)?carp", "finger", "thumb", "index"),
    *("middle", "ring", "pinky", "little", "eye", "ear", "brow", "cheek", "breast", "pelvis"),
)
_PART = f"(?:{'|'.join(_PARTS_OF_THE_BODY)})"
# In capitals a letter and what follows cannot be told apart (LASI, LKNE): all but words that begin with L.
_NO_WORD_WITH_L = "(?!EG|OWER|UMB|ITTLE|UNG|ATERAL|ENGTH|EVEL|IMB)"
_LETTERS = (
    re.compile(r"(?<![^\W\d_])[lL](?![^\W\d_])"),  # alone: L_Arm, arm.l, Finger_L_2, l5
    re.compile(r"(?<![^\W\d_])[lL](?=[A-Z][a-z])"),  # LArm, lThigh
    re.compile(rf"(?<![^\W\d_])L(?=[A-Z]){_NO_WORD_WITH_L}"),  # LASI, LKNE
    re.compile(r"(?<![^\W\d_])l(?=[A-Z])"),  # lASI
    re.compile(rf"(?<![^\W\d_])[lL](?={_PART})", re.IGNORECASE),  # lfemur, Lhip
    re.compile(r"(?<=[a-z0-9])L(?![A-Za-z])"),  # HandL
)
_SOLID = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

# How sources call the joint at the top of a limb; the first spelling that a joint has counts.
_LIMBS = {
    "hip": (
        *(r"up(per)?[ _]?leg", r"thigh", r"femur", r"muslo", r"cuisse", r"coxa", r"大腿", r"hip(?!s)", r"cadera"),
        *(r"hanche", r"(?<!先)足(?!首|先|ik|ＩＫ)", r"oberschenkel", r"coscia", r"бедр", r"허벅지", r"buttock"),
        *(r"hüfte", r"huefte"),
    ),
    "shoulder": (
        *(r"up(per)?[ _]?arm", r"humerus", r"上腕", r"上臂", r"(?<!fore)(?<!lower)(?<!fore[ _])(?<!lower[ _])arm"),
        *(r"oberarm", r"(?<!ante)bra[zcç]o", r"(?<!avant)(?<!avant[ _])bras", r"(?<!avam)braccio", r"(?<!前)腕(?!捩)"),
        *(r"плечо", r"팔(?!뚝|꿈치|목)", r"sho?u?ld", r"shldr", r"hombro", r"épaule", r"epaule", r"肩"),
        r"schulter(?!blatt)",
    ),
}
_NECK = re.compile(r"neck|cuello|cou(?![a-z])|hals|collo|pesco[cç]o|шея|목|首|颈", re.IGNORECASE)


def right_names(name: str) -> Iterator[str]:
    """Yield how the right partner of a left joint may be called; nothing for a name without a mark of the left."""
    marks = list(_left_marks(name))
    for start, end, right in marks:
        yield name[:start] + right + name[end:]
    if len(marks) > 1:  # LeftArm/LeftHand
        text, done = "", 0
        for start, end, right in sorted(marks):
            if start >= done:
                text, done = text + name[done:start] + right, end
        yield text + name[done:]


def without_side(left: str, right: str) -> str | None:
    """Return what partners are called without what tells their side: "femur" of lfemur and rfemur; None if no side.

    Args:
        left: name of the left one.
        right: name of the right one.
    """
    marks = [(start, end) for start, end, word in _left_marks(left) if left[:start] + word + left[end:] == right]
    return left[: marks[0][0]] + left[marks[0][1] :] if marks else None


def mirror_by_name(joints: Sequence[str], parents: Sequence[int] | None = None) -> tuple[int, ...]:
    """Return each joint's left-right partner as their names tell it; a joint without one is its own.

    Args:
        joints: names such as LeftArm and RightArm, arm_l and arm_r, LArm and RArm, lfemur and rfemur, 左足 and 右足.
        parents: parent of each joint. Where given, children of partners that have one name, up to what is put before
            a second one (Shin and RightUpLeg/Shin), are partners as well.
    """
    place = {name: joint for joint, name in enumerate(joints)}
    mirror = list(range(len(joints)))
    for left, name in enumerate(joints):
        if mirror[left] != left:
            continue
        partners = (place[other] for other in right_names(name) if other in place)
        right = next((other for other in partners if other != left and mirror[other] == other), left)
        mirror[left], mirror[right] = right, left
    if parents is not None:
        _pair_children(joints, parents, mirror)
    return tuple(mirror)


def _pair_children(joints: Sequence[str], parents: Sequence[int], mirror: list[int]) -> None:
    children: dict[int, list[int]] = {}
    for joint, parent in enumerate(parents):
        if joint != parent:
            children.setdefault(parent, []).append(joint)
    pairs = [(one, other) for one, other in enumerate(mirror) if one < other]
    for one, other in pairs:  # grows by the pairs that are found
        free = {joints[child].rpartition("/")[2]: child for child in children.get(other, []) if mirror[child] == child}
        for child in children.get(one, []):
            partner = free.pop(joints[child].rpartition("/")[2], child) if mirror[child] == child else child
            if partner != child:
                mirror[child], mirror[partner] = partner, child
                pairs.append((child, partner))


def anchors_by_name(
    names: Sequence[str], parents: Sequence[int], mirror: Sequence[int], sides: Sequence[str]
) -> dict[str, int]:
    """Return hips, shoulders, centre and chest, as far as names and tree tell: roles as in `Skeleton.anchors`.

    The centre is where the hips join; the chest is the neck's beginning if the file has one, else where the shoulders
    join.

    Args:
        names: of the joints.
        parents: parent of each; the root is its own.
        mirror: left-right partner of each.
        sides: "left", "right" or "middle" for each.
    """
    anchors: dict[str, int] = {}
    for limb, spellings in _LIMBS.items():
        left = [joint for joint, side in enumerate(sides) if side == "left"]
        for spelling in spellings:
            top = next((joint for joint in left if re.search(spelling, names[joint], re.IGNORECASE)), None)
            if top is not None:
                anchors[f"left_{limb}"], anchors[f"right_{limb}"] = top, mirror[top]
                break
    for role, limb in (("centre", "hip"), ("chest", "shoulder")):
        if f"left_{limb}" in anchors:
            right = ancestors(anchors[f"right_{limb}"], parents)
            meeting = next((joint for joint in ancestors(anchors[f"left_{limb}"], parents) if joint in right), None)
            if meeting is not None:
                anchors[role] = meeting
    if "chest" in anchors:  # the top of the trunk is where the neck begins, if the file has that
        necks = [joint for joint, parent in enumerate(parents) if parent == anchors["chest"] != joint]
        anchors["chest"] = next((joint for joint in necks if _NECK.search(names[joint])), anchors["chest"])
    return anchors


def ancestors(joint: int, parents: Sequence[int]) -> list[int]:
    """Return the parent of a joint, its parent, and so on up to the root."""
    line: list[int] = []
    while parents[joint] != joint and len(line) < len(parents):
        joint = parents[joint]
        line.append(joint)
    return line


def _left_marks(name: str) -> Iterator[tuple[int, int, str]]:
    """Yield where a name says left, and what it would say for right."""
    lower = name.lower()
    for left, right in _ANYWHERE:
        for match in re.finditer(left, lower):
            yield match.start(), match.end(), _in_case_of(name[match.start() : match.end()], right)
    for match in _SOLID.finditer(name):
        for left, right in _WORDS:
            if match[0].lower() == left:
                yield match.start(), match.end(), _in_case_of(match[0], right)
    for pattern in _LETTERS:
        for match in pattern.finditer(name):
            yield match.start(), match.end(), "R" if match[0] == "L" else "r"


def _in_case_of(model: str, word: str) -> str:
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[:1].isupper() else word

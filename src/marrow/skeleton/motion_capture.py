"""Layouts of motion capture: suits, markers, and what software makes of them.

Mostly a joint is called after the bone that begins there: LeftArm lies at the shoulder. Where files have a prefix
(mixamorig:) or joints besides (fingers, twists), names tell their places (`skeleton/places.py`). Human3.6M's 32 and
CMU's 38 are in `skeleton/layout.py`.
"""

from marrow.skeleton.layout import build_layout


def _anchors(centre: str, chest: str, hip: str, shoulder: str) -> dict[str, str]:
    """Return anchors from names in which {Side}, {side} or {s} stand for Left, left or l, and Right, right or r."""
    anchors = {"centre": centre, "chest": chest}
    for side in ("left", "right"):
        for limb, name in (("hip", hip), ("shoulder", shoulder)):
            anchors[f"{side}_{limb}"] = name.format(Side=side.capitalize(), side=side, s=side[0])
    return anchors


# The nodes of CMU's recordings in BVH (Hahne's conversion), without the ends that CMU_38 has.
CMU_31 = build_layout(
    "cmu_31",
    """
    Hips             Hips             pelvis
    LHipJoint        Hips             -
    LeftUpLeg        LHipJoint        hip
    LeftLeg          LeftUpLeg        knee
    LeftFoot         LeftLeg          ankle
    LeftToeBase      LeftFoot         foot
    RHipJoint        Hips             -
    RightUpLeg       RHipJoint        hip
    RightLeg         RightUpLeg       knee
    RightFoot        RightLeg         ankle
    RightToeBase     RightFoot        foot
    LowerBack        Hips             -
    Spine            LowerBack        spine
    Spine1           Spine            -
    Neck             Spine1           shoulder_centre
    Neck1            Neck             neck
    Head             Neck1            head
    LeftShoulder     Spine1           collar
    LeftArm          LeftShoulder     shoulder
    LeftForeArm      LeftArm          elbow
    LeftHand         LeftForeArm      wrist
    LeftFingerBase   LeftHand         -
    LeftHandIndex1   LeftFingerBase   -
    LThumb           LeftHand         -
    RightShoulder    Spine1           collar
    RightArm         RightShoulder    shoulder
    RightForeArm     RightArm         elbow
    RightHand        RightForeArm     wrist
    RightFingerBase  RightHand        -
    RightHandIndex1  RightFingerBase  -
    RThumb           RightHand        -
    """,
    _anchors("Hips", "Neck", "{Side}UpLeg", "{Side}Arm"),
)

# CMU's recordings in Acclaim's format, as `readers/formats/acclaim.py` reads them: a joint where each bone begins, and
# the ends; the order of their .asf files.
ACCLAIM_35 = build_layout(
    "acclaim_35",
    """
    root          root       pelvis
    lfemur        root       hip
    ltibia        lfemur     knee
    lfoot         ltibia     ankle
    ltoes         lfoot      foot
    ltoes_end     ltoes      toe
    rfemur        root       hip
    rtibia        rfemur     knee
    rfoot         rtibia     ankle
    rtoes         rfoot      foot
    rtoes_end     rtoes      toe
    upperback     root       spine
    thorax        upperback  chest
    lowerneck     thorax     shoulder_centre
    upperneck     lowerneck  neck
    head          upperneck  head
    head_end      head       head_top
    lclavicle     thorax     collar
    lhumerus      lclavicle  shoulder
    lradius       lhumerus   elbow
    lwrist        lradius    wrist
    lhand         lwrist     hand
    lfingers      lhand      -
    lfingers_end  lfingers   hand_tip
    lthumb        lwrist     -
    lthumb_end    lthumb     thumb
    rclavicle     thorax     collar
    rhumerus      rclavicle  shoulder
    rradius       rhumerus   elbow
    rwrist        rradius    wrist
    rhand         rwrist     hand
    rfingers      rhand      -
    rfingers_end  rfingers   hand_tip
    rthumb        rwrist     -
    rthumb_end    rthumb     thumb
    """,
    _anchors("root", "lowerneck", "{s}femur", "{s}humerus"),
)

# SMPL's body without hands, as AMASS and HumanML3D have it; its kinematic tree. Called after places.
SMPL_22 = build_layout(
    "smpl_22",
    """
    pelvis          pelvis          pelvis
    left_hip        pelvis          hip
    right_hip       pelvis          hip
    spine1          pelvis          -
    left_knee       left_hip        knee
    right_knee      right_hip       knee
    spine2          spine1          spine
    left_ankle      left_knee       ankle
    right_ankle     right_knee      ankle
    spine3          spine2          chest
    left_foot       left_ankle      foot
    right_foot      right_ankle     foot
    neck            spine3          neck
    left_collar     spine3          collar
    right_collar    spine3          collar
    head            neck            head
    left_shoulder   left_collar     shoulder
    right_shoulder  right_collar    shoulder
    left_elbow      left_shoulder   elbow
    right_elbow     right_shoulder  elbow
    left_wrist      left_elbow      wrist
    right_wrist     right_elbow     wrist
    """,
    _anchors("pelvis", "neck", "{side}_hip", "{side}_shoulder"),
)

# SMPL, all 24.
SMPL_24 = build_layout(
    "smpl_24",
    """
    pelvis          pelvis          pelvis
    left_hip        pelvis          hip
    right_hip       pelvis          hip
    spine1          pelvis          -
    left_knee       left_hip        knee
    right_knee      right_hip       knee
    spine2          spine1          spine
    left_ankle      left_knee       ankle
    right_ankle     right_knee      ankle
    spine3          spine2          chest
    left_foot       left_ankle      foot
    right_foot      right_ankle     foot
    neck            spine3          neck
    left_collar     spine3          collar
    right_collar    spine3          collar
    head            neck            head
    left_shoulder   left_collar     shoulder
    right_shoulder  right_collar    shoulder
    left_elbow      left_shoulder   elbow
    right_elbow     right_shoulder  elbow
    left_wrist      left_elbow      wrist
    right_wrist     right_elbow     wrist
    left_hand       left_wrist      hand
    right_hand      right_wrist     hand
    """,
    _anchors("pelvis", "neck", "{side}_hip", "{side}_shoulder"),
)

# Xsens MVN's 23 segments, each where it begins; the order of MVNX files.
XSENS_23 = build_layout(
    "xsens_23",
    """
    Pelvis         Pelvis         pelvis
    L5             Pelvis         -
    L3             L5             spine
    T12            L3             -
    T8             T12            chest
    Neck           T8             shoulder_centre
    Head           Neck           head
    RightShoulder  T8             collar
    RightUpperArm  RightShoulder  shoulder
    RightForearm   RightUpperArm  elbow
    RightHand      RightForearm   wrist
    LeftShoulder   T8             collar
    LeftUpperArm   LeftShoulder   shoulder
    LeftForearm    LeftUpperArm   elbow
    LeftHand       LeftForearm    wrist
    RightUpperLeg  Pelvis         hip
    RightLowerLeg  RightUpperLeg  knee
    RightFoot      RightLowerLeg  ankle
    RightToe       RightFoot      foot
    LeftUpperLeg   Pelvis         hip
    LeftLowerLeg   LeftUpperLeg   knee
    LeftFoot       LeftLowerLeg   ankle
    LeftToe        LeftFoot       foot
    """,
    _anchors("Pelvis", "Neck", "{Side}UpperLeg", "{Side}UpperArm"),
)

# Mixamo's rig without ends and fingers, and without its prefix.
MIXAMO_22 = build_layout(
    "mixamo_22",
    """
    Hips           Hips           pelvis
    Spine          Hips           spine
    Spine1         Spine          -
    Spine2         Spine1         chest
    Neck           Spine2         shoulder_centre
    Head           Neck           head
    LeftShoulder   Spine2         collar
    LeftArm        LeftShoulder   shoulder
    LeftForeArm    LeftArm        elbow
    LeftHand       LeftForeArm    wrist
    RightShoulder  Spine2         collar
    RightArm       RightShoulder  shoulder
    RightForeArm   RightArm       elbow
    RightHand      RightForeArm   wrist
    LeftUpLeg      Hips           hip
    LeftLeg        LeftUpLeg      knee
    LeftFoot       LeftLeg        ankle
    LeftToeBase    LeftFoot       foot
    RightUpLeg     Hips           hip
    RightLeg       RightUpLeg     knee
    RightFoot      RightLeg       ankle
    RightToeBase   RightFoot      foot
    """,
    _anchors("Hips", "Neck", "{Side}UpLeg", "{Side}Arm"),
)

# Rokoko's skeleton "Newton" without fingers.
ROKOKO_25 = build_layout(
    "rokoko_25",
    """
    Hips           Hips           pelvis
    LeftThigh      Hips           hip
    LeftShin       LeftThigh      knee
    LeftFoot       LeftShin       ankle
    LeftToe        LeftFoot       foot
    LeftToeTip     LeftToe        toe
    RightThigh     Hips           hip
    RightShin      RightThigh     knee
    RightFoot      RightShin      ankle
    RightToe       RightFoot      foot
    RightToeTip    RightToe       toe
    Spine1         Hips           -
    Spine2         Spine1         spine
    Spine3         Spine2         -
    Spine4         Spine3         chest
    LeftShoulder   Spine4         collar
    LeftArm        LeftShoulder   shoulder
    LeftForeArm    LeftArm        elbow
    LeftHand       LeftForeArm    wrist
    Neck           Spine4         shoulder_centre
    Head           Neck           head
    RightShoulder  Spine4         collar
    RightArm       RightShoulder  shoulder
    RightForeArm   RightArm       elbow
    RightHand      RightForeArm   wrist
    """,
    _anchors("Hips", "Neck", "{Side}Thigh", "{Side}Arm"),
)

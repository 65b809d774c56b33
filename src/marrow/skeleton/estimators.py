"""The layouts of pose estimators: which joints their models find, in the order in which they write them.

Nothing is invented here: where a model finds no hips' centre and no neck, the layout has none, its tree hangs from the
nose, and anchors that would need them are absent. Joints are called as in `skeleton/layout.py`, so that layouts match
each other by name.
"""

from marrow.skeleton.layout import ANCHORS_OF_SIDES, Skeleton, build_layout

# COCO's keypoints: also what YOLO-pose, MoveNet, ViTPose and most of MMPose find. The nose is the one joint on the
# midline, so everything hangs from it.
COCO_17 = build_layout(
    "coco_17",
    """
    Nose           Nose
    EyeLeft        Nose
    EyeRight       Nose
    EarLeft        EyeLeft
    EarRight       EyeRight
    ShoulderLeft   Nose
    ShoulderRight  Nose
    ElbowLeft      ShoulderLeft
    ElbowRight     ShoulderRight
    WristLeft      ElbowLeft
    WristRight     ElbowRight
    HipLeft        ShoulderLeft
    HipRight       ShoulderRight
    KneeLeft       HipLeft
    KneeRight      HipRight
    AnkleLeft      KneeLeft
    AnkleRight     KneeRight
    """,
    ANCHORS_OF_SIDES,
)

# OpenPose's model "COCO" and AlphaPose's form "cmu": COCO with a neck, in an order of its own.
COCO_18 = build_layout(
    "coco_18",
    """
    Nose           Neck
    Neck           Neck
    ShoulderRight  Neck
    ElbowRight     ShoulderRight
    WristRight     ElbowRight
    ShoulderLeft   Neck
    ElbowLeft      ShoulderLeft
    WristLeft      ElbowLeft
    HipRight       Neck
    KneeRight      HipRight
    AnkleRight     KneeRight
    HipLeft        Neck
    KneeLeft       HipLeft
    AnkleLeft      KneeLeft
    EyeRight       Nose
    EyeLeft        Nose
    EarRight       EyeRight
    EarLeft        EyeLeft
    """,
    {"chest": "Neck", **ANCHORS_OF_SIDES},
)

# OpenPose's model "MPI".
MPI_15 = build_layout(
    "mpi_15",
    """
    Head           Neck
    Neck           Chest
    ShoulderRight  Neck
    ElbowRight     ShoulderRight
    WristRight     ElbowRight
    ShoulderLeft   Neck
    ElbowLeft      ShoulderLeft
    WristLeft      ElbowLeft
    HipRight       Chest
    KneeRight      HipRight
    AnkleRight     KneeRight
    HipLeft        Chest
    KneeLeft       HipLeft
    AnkleLeft      KneeLeft
    Chest          Chest
    """,
    {"chest": "Neck", **ANCHORS_OF_SIDES},
)

# OpenPose's default.
BODY_25 = build_layout(
    "body_25",
    """
    Nose           Neck
    Neck           MidHip
    ShoulderRight  Neck
    ElbowRight     ShoulderRight
    WristRight     ElbowRight
    ShoulderLeft   Neck
    ElbowLeft      ShoulderLeft
    WristLeft      ElbowLeft
    MidHip         MidHip
    HipRight       MidHip
    KneeRight      HipRight
    AnkleRight     KneeRight
    HipLeft        MidHip
    KneeLeft       HipLeft
    AnkleLeft      KneeLeft
    EyeRight       Nose
    EyeLeft        Nose
    EarRight       EyeRight
    EarLeft        EyeLeft
    BigToeLeft     AnkleLeft
    SmallToeLeft   BigToeLeft
    HeelLeft       AnkleLeft
    BigToeRight    AnkleRight
    SmallToeRight  BigToeRight
    HeelRight      AnkleRight
    """,
    {"centre": "MidHip", "chest": "Neck", **ANCHORS_OF_SIDES},
)

# Halpe, body and feet: AlphaPose, RTMPose. "Head" is the top of the head there, "Hip" lies between the hips.
HALPE_26 = build_layout(
    "halpe_26",
    """
    Nose           Neck
    EyeLeft        Nose
    EyeRight       Nose
    EarLeft        EyeLeft
    EarRight       EyeRight
    ShoulderLeft   Neck
    ShoulderRight  Neck
    ElbowLeft      ShoulderLeft
    ElbowRight     ShoulderRight
    WristLeft      ElbowLeft
    WristRight     ElbowRight
    HipLeft        MidHip
    HipRight       MidHip
    KneeLeft       HipLeft
    KneeRight      HipRight
    AnkleLeft      KneeLeft
    AnkleRight     KneeRight
    HeadTop        Neck
    Neck           MidHip
    MidHip         MidHip
    BigToeLeft     AnkleLeft
    BigToeRight    AnkleRight
    SmallToeLeft   BigToeLeft
    SmallToeRight  BigToeRight
    HeelLeft       AnkleLeft
    HeelRight      AnkleRight
    """,
    {"centre": "MidHip", "chest": "Neck", **ANCHORS_OF_SIDES},
)

# MediaPipe's (BlazePose's) landmarks. "Foot" is the tip of the foot, which it calls foot index.
MEDIAPIPE_33 = build_layout(
    "mediapipe_33",
    """
    Nose           Nose
    EyeInnerLeft   Nose
    EyeLeft        EyeInnerLeft
    EyeOuterLeft   EyeLeft
    EyeInnerRight  Nose
    EyeRight       EyeInnerRight
    EyeOuterRight  EyeRight
    EarLeft        EyeOuterLeft
    EarRight       EyeOuterRight
    MouthLeft      Nose
    MouthRight     Nose
    ShoulderLeft   Nose
    ShoulderRight  Nose
    ElbowLeft      ShoulderLeft
    ElbowRight     ShoulderRight
    WristLeft      ElbowLeft
    WristRight     ElbowRight
    PinkyLeft      WristLeft
    PinkyRight     WristRight
    IndexLeft      WristLeft
    IndexRight     WristRight
    ThumbLeft      WristLeft
    ThumbRight     WristRight
    HipLeft        ShoulderLeft
    HipRight       ShoulderRight
    KneeLeft       HipLeft
    KneeRight      HipRight
    AnkleLeft      KneeLeft
    AnkleRight     KneeRight
    HeelLeft       AnkleLeft
    HeelRight      AnkleRight
    FootLeft       AnkleLeft
    FootRight      AnkleRight
    """,
    ANCHORS_OF_SIDES,
)

# The 17 of Human3.6M's 32 joints that lifting 2D to 3D uses (VideoPose3D, MotionBERT, MMPose), called as in H36M_32.
H36M_17 = build_layout(
    "h36m_17",
    """
    Hips           Hips
    HipRight       Hips
    KneeRight      HipRight
    AnkleRight     KneeRight
    HipLeft        Hips
    KneeLeft       HipLeft
    AnkleLeft      KneeLeft
    SpineMid       Hips
    Neck           SpineMid
    Head           Neck
    HeadTop        Head
    ShoulderLeft   Neck
    ElbowLeft      ShoulderLeft
    WristLeft      ElbowLeft
    ShoulderRight  Neck
    ElbowRight     ShoulderRight
    WristRight     ElbowRight
    """,
    {"centre": "Hips", "chest": "Neck", **ANCHORS_OF_SIDES},
)

ESTIMATOR_LAYOUTS: dict[str, Skeleton] = {
    layout.name: layout for layout in (COCO_17, COCO_18, MPI_15, BODY_25, HALPE_26, MEDIAPIPE_33, H36M_17)
}

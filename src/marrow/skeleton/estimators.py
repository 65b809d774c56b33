"""The layouts of pose estimators: which joints their models find, in the order in which they write them.

Nothing is invented here: where a model finds no hips' centre and no neck, the layout has none, its tree hangs from the
nose, and anchors that would need them are absent; importing adds the middles as derived joints
(`skeleton/derived.py`). Joints are called as in `skeleton/layout.py`. The orders are those that the software documents.
"""

from marrow.skeleton.layout import ANCHORS_OF_SIDES, Skeleton, build_layout

# COCO's keypoints: also what YOLO-pose, MoveNet, ViTPose and most of MMPose find. The nose is the one joint on the
# midline, so everything hangs from it.
COCO_17 = build_layout(
    "coco_17",
    """
    Nose           Nose           nose
    EyeLeft        Nose           eye
    EyeRight       Nose           eye
    EarLeft        EyeLeft        ear
    EarRight       EyeRight       ear
    ShoulderLeft   Nose           shoulder
    ShoulderRight  Nose           shoulder
    ElbowLeft      ShoulderLeft   elbow
    ElbowRight     ShoulderRight  elbow
    WristLeft      ElbowLeft      wrist
    WristRight     ElbowRight     wrist
    HipLeft        ShoulderLeft   hip
    HipRight       ShoulderRight  hip
    KneeLeft       HipLeft        knee
    KneeRight      HipRight       knee
    AnkleLeft      KneeLeft       ankle
    AnkleRight     KneeRight      ankle
    """,
    ANCHORS_OF_SIDES,
)

# OpenPose's model "COCO" and AlphaPose's form "cmu": COCO with a neck, in an order of its own. What OpenPose calls the
# neck it has learned from the middle of the shoulders.
COCO_18 = build_layout(
    "coco_18",
    """
    Nose           Neck           nose
    Neck           Neck           shoulder_centre
    ShoulderRight  Neck           shoulder
    ElbowRight     ShoulderRight  elbow
    WristRight     ElbowRight     wrist
    ShoulderLeft   Neck           shoulder
    ElbowLeft      ShoulderLeft   elbow
    WristLeft      ElbowLeft      wrist
    HipRight       Neck           hip
    KneeRight      HipRight       knee
    AnkleRight     KneeRight      ankle
    HipLeft        Neck           hip
    KneeLeft       HipLeft        knee
    AnkleLeft      KneeLeft       ankle
    EyeRight       Nose           eye
    EyeLeft        Nose           eye
    EarRight       EyeRight       ear
    EarLeft        EyeLeft        ear
    """,
    {"chest": "Neck", **ANCHORS_OF_SIDES},
)

# OpenPose's model "MPI".
MPI_15 = build_layout(
    "mpi_15",
    """
    Head           Neck           head_top
    Neck           Chest          neck
    ShoulderRight  Neck           shoulder
    ElbowRight     ShoulderRight  elbow
    WristRight     ElbowRight     wrist
    ShoulderLeft   Neck           shoulder
    ElbowLeft      ShoulderLeft   elbow
    WristLeft      ElbowLeft      wrist
    HipRight       Chest          hip
    KneeRight      HipRight       knee
    AnkleRight     KneeRight      ankle
    HipLeft        Chest          hip
    KneeLeft       HipLeft        knee
    AnkleLeft      KneeLeft       ankle
    Chest          Chest          chest
    """,
    {"chest": "Neck", **ANCHORS_OF_SIDES},
)

# OpenPose's default.
BODY_25 = build_layout(
    "body_25",
    """
    Nose           Neck           nose
    Neck           MidHip         shoulder_centre
    ShoulderRight  Neck           shoulder
    ElbowRight     ShoulderRight  elbow
    WristRight     ElbowRight     wrist
    ShoulderLeft   Neck           shoulder
    ElbowLeft      ShoulderLeft   elbow
    WristLeft      ElbowLeft      wrist
    MidHip         MidHip         hip_centre
    HipRight       MidHip         hip
    KneeRight      HipRight       knee
    AnkleRight     KneeRight      ankle
    HipLeft        MidHip         hip
    KneeLeft       HipLeft        knee
    AnkleLeft      KneeLeft       ankle
    EyeRight       Nose           eye
    EyeLeft        Nose           eye
    EarRight       EyeRight       ear
    EarLeft        EyeLeft        ear
    BigToeLeft     AnkleLeft      toe
    SmallToeLeft   BigToeLeft     -
    HeelLeft       AnkleLeft      heel
    BigToeRight    AnkleRight     toe
    SmallToeRight  BigToeRight    -
    HeelRight      AnkleRight     heel
    """,
    {"centre": "MidHip", "chest": "Neck", **ANCHORS_OF_SIDES},
)

# Halpe, body and feet: AlphaPose, RTMPose. "Head" is the top of the head there, "Hip" lies between the hips.
HALPE_26 = build_layout(
    "halpe_26",
    """
    Nose           Neck           nose
    EyeLeft        Nose           eye
    EyeRight       Nose           eye
    EarLeft        EyeLeft        ear
    EarRight       EyeRight       ear
    ShoulderLeft   Neck           shoulder
    ShoulderRight  Neck           shoulder
    ElbowLeft      ShoulderLeft   elbow
    ElbowRight     ShoulderRight  elbow
    WristLeft      ElbowLeft      wrist
    WristRight     ElbowRight     wrist
    HipLeft        MidHip         hip
    HipRight       MidHip         hip
    KneeLeft       HipLeft        knee
    KneeRight      HipRight       knee
    AnkleLeft      KneeLeft       ankle
    AnkleRight     KneeRight      ankle
    HeadTop        Neck           head_top
    Neck           MidHip         neck
    MidHip         MidHip         hip_centre
    BigToeLeft     AnkleLeft      toe
    BigToeRight    AnkleRight     toe
    SmallToeLeft   BigToeLeft     -
    SmallToeRight  BigToeRight    -
    HeelLeft       AnkleLeft      heel
    HeelRight      AnkleRight     heel
    """,
    {"centre": "MidHip", "chest": "Neck", **ANCHORS_OF_SIDES},
)

# MediaPipe's (BlazePose's) landmarks. "Foot" is the tip of the foot, which it calls foot index.
MEDIAPIPE_33 = build_layout(
    "mediapipe_33",
    """
    Nose           Nose           nose
    EyeInnerLeft   Nose           -
    EyeLeft        EyeInnerLeft   eye
    EyeOuterLeft   EyeLeft        -
    EyeInnerRight  Nose           -
    EyeRight       EyeInnerRight  eye
    EyeOuterRight  EyeRight       -
    EarLeft        EyeOuterLeft   ear
    EarRight       EyeOuterRight  ear
    MouthLeft      Nose           -
    MouthRight     Nose           -
    ShoulderLeft   Nose           shoulder
    ShoulderRight  Nose           shoulder
    ElbowLeft      ShoulderLeft   elbow
    ElbowRight     ShoulderRight  elbow
    WristLeft      ElbowLeft      wrist
    WristRight     ElbowRight     wrist
    PinkyLeft      WristLeft      -
    PinkyRight     WristRight     -
    IndexLeft      WristLeft      -
    IndexRight     WristRight     -
    ThumbLeft      WristLeft      thumb
    ThumbRight     WristRight     thumb
    HipLeft        ShoulderLeft   hip
    HipRight       ShoulderRight  hip
    KneeLeft       HipLeft        knee
    KneeRight      HipRight       knee
    AnkleLeft      KneeLeft       ankle
    AnkleRight     KneeRight      ankle
    HeelLeft       AnkleLeft      heel
    HeelRight      AnkleRight     heel
    FootLeft       AnkleLeft      foot
    FootRight      AnkleRight     foot
    """,
    ANCHORS_OF_SIDES,
)

# The 17 of Human3.6M's 32 joints that lifting 2D to 3D uses (VideoPose3D, MotionBERT, MMPose), called as in H36M_32.
H36M_17 = build_layout(
    "h36m_17",
    """
    Hips           Hips           hip_centre
    HipRight       Hips           hip
    KneeRight      HipRight       knee
    AnkleRight     KneeRight      ankle
    HipLeft        Hips           hip
    KneeLeft       HipLeft        knee
    AnkleLeft      KneeLeft       ankle
    SpineMid       Hips           spine
    Neck           SpineMid       shoulder_centre
    Head           Neck           head
    HeadTop        Head           head_top
    ShoulderLeft   Neck           shoulder
    ElbowLeft      ShoulderLeft   elbow
    WristLeft      ElbowLeft      wrist
    ShoulderRight  Neck           shoulder
    ElbowRight     ShoulderRight  elbow
    WristRight     ElbowRight     wrist
    """,
    {"centre": "Hips", "chest": "Neck", **ANCHORS_OF_SIDES},
)

# Penn Action, as annotators marked people in videos; the order of its README.
PENN_13 = build_layout(
    "penn_13",
    """
    head            head            head
    left_shoulder   head            shoulder
    right_shoulder  head            shoulder
    left_elbow      left_shoulder   elbow
    right_elbow     right_shoulder  elbow
    left_wrist      left_elbow      wrist
    right_wrist     right_elbow     wrist
    left_hip        left_shoulder   hip
    right_hip       right_shoulder  hip
    left_knee       left_hip        knee
    right_knee      right_hip       knee
    left_ankle      left_knee       ankle
    right_ankle     right_knee      ankle
    """,
    {role: role for role in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")},
)

ESTIMATOR_LAYOUTS: dict[str, Skeleton] = {
    layout.name: layout for layout in (COCO_17, COCO_18, MPI_15, BODY_25, HALPE_26, MEDIAPIPE_33, H36M_17)
}

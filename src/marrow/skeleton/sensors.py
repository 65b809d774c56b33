"""Layouts of depth sensors, and of data sets that were recorded with them.

Kinect v1 and v2 as their SDKs have them are in `skeleton/layout.py`.
"""

from marrow.skeleton.layout import ANCHORS_OF_SIDES, build_layout

# Azure Kinect, in the order of the body tracking SDK (k4abt_joint_id_t), its parents as documented.
AZURE_32 = build_layout(
    "azure_32",
    """
    Pelvis         Pelvis         pelvis
    SpineNavel     Pelvis         spine
    SpineChest     SpineNavel     chest
    Neck           SpineChest     neck
    ClavicleLeft   SpineChest     collar
    ShoulderLeft   ClavicleLeft   shoulder
    ElbowLeft      ShoulderLeft   elbow
    WristLeft      ElbowLeft      wrist
    HandLeft       WristLeft      hand
    HandTipLeft    HandLeft       hand_tip
    ThumbLeft      WristLeft      thumb
    ClavicleRight  SpineChest     collar
    ShoulderRight  ClavicleRight  shoulder
    ElbowRight     ShoulderRight  elbow
    WristRight     ElbowRight     wrist
    HandRight      WristRight     hand
    HandTipRight   HandRight      hand_tip
    ThumbRight     WristRight     thumb
    HipLeft        Pelvis         hip
    KneeLeft       HipLeft        knee
    AnkleLeft      KneeLeft       ankle
    FootLeft       AnkleLeft      foot
    HipRight       Pelvis         hip
    KneeRight      HipRight       knee
    AnkleRight     KneeRight      ankle
    FootRight      AnkleRight     foot
    Head           Neck           head
    Nose           Head           nose
    EyeLeft        Head           eye
    EarLeft        Head           ear
    EyeRight       Head           eye
    EarRight       Head           ear
    """,
    {"centre": "Pelvis", "chest": "Neck", **ANCHORS_OF_SIDES},
)

# MSR Action3D: the 20 joints of Kinect v1 in an order of its own, right before left. Sources: the bones that the data
# set's own drawing code lists, and code that names its columns after markers (RSHO = 1, LSHO = 2, HEAD = 20).
MSR_20 = build_layout(
    "msr_20",
    """
    ShoulderRight   ShoulderCenter  shoulder
    ShoulderLeft    ShoulderCenter  shoulder
    ShoulderCenter  ShoulderCenter  shoulder_centre
    Spine           ShoulderCenter  spine
    HipRight        HipCenter       hip
    HipLeft         HipCenter       hip
    HipCenter       Spine           pelvis
    ElbowRight      ShoulderRight   elbow
    ElbowLeft       ShoulderLeft    elbow
    WristRight      ElbowRight      wrist
    WristLeft       ElbowLeft       wrist
    HandRight       WristRight      hand
    HandLeft        WristLeft       hand
    KneeRight       HipRight        knee
    KneeLeft        HipLeft         knee
    AnkleRight      KneeRight       ankle
    AnkleLeft       KneeLeft        ankle
    FootRight       AnkleRight      foot
    FootLeft        AnkleLeft       foot
    Head            ShoulderCenter  head
    """,
    {"centre": "HipCenter", "chest": "ShoulderCenter", **ANCHORS_OF_SIDES},
)

# SBU Kinect interaction, by the joints of OpenNI: no wrists and no ankles. The order of its README.
SBU_15 = build_layout(
    "sbu_15",
    """
    Head           Neck           head
    Neck           Torso          neck
    Torso          Torso          spine
    ShoulderLeft   Neck           shoulder
    ElbowLeft      ShoulderLeft   elbow
    HandLeft       ElbowLeft      hand
    ShoulderRight  Neck           shoulder
    ElbowRight     ShoulderRight  elbow
    HandRight      ElbowRight     hand
    HipLeft        Torso          hip
    KneeLeft       HipLeft        knee
    FootLeft       KneeLeft       foot
    HipRight       Torso          hip
    KneeRight      HipRight       knee
    FootRight      KneeRight      foot
    """,
    {"chest": "Neck", **ANCHORS_OF_SIDES},
)

# UI-PRMD by Kinect v2, joints called after the bones that begin there; the order of its paper (Vakanski et al., 2018).
UI_PRMD_22 = build_layout(
    "ui_prmd_22",
    """
    Waist      Waist      pelvis
    Spine      Waist      spine
    Chest      Spine      chest
    Neck       Chest      shoulder_centre
    Head       Neck       head
    HeadTip    Head       head_top
    LCollar    Chest      collar
    LUpperArm  LCollar    shoulder
    LForearm   LUpperArm  elbow
    LHand      LForearm   wrist
    RCollar    Chest      collar
    RUpperArm  RCollar    shoulder
    RForearm   RUpperArm  elbow
    RHand      RForearm   wrist
    LUpperLeg  Waist      hip
    LLowerLeg  LUpperLeg  knee
    LFoot      LLowerLeg  ankle
    LToes      LFoot      foot
    RUpperLeg  Waist      hip
    RLowerLeg  RUpperLeg  knee
    RFoot      RLowerLeg  ankle
    RToes      RFoot      foot
    """,
    {
        "centre": "Waist",
        "chest": "Neck",
        "left_hip": "LUpperLeg",
        "right_hip": "RUpperLeg",
        "left_shoulder": "LUpperArm",
        "right_shoulder": "RUpperArm",
    },
)

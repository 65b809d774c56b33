"""Small good files of every format and data set, for whatever tries all of them: a case is its files by name.

A new format puts its files here: a line in `FORMAT_SAMPLES`. Where it has not, tests/importing/test_fuzz.py says so.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

_TESTS = Path(__file__).parents[1]
for _folder in (_TESTS / "conformance", _TESTS / "readers", Path(__file__).parent):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

import ntu_text  # noqa: E402
import penn_files  # noqa: E402
import test_acclaim  # noqa: E402
import test_alphapose  # noqa: E402
import test_arrays  # noqa: E402
import test_bvh_format  # noqa: E402
import test_c3d  # noqa: E402
import test_coco  # noqa: E402
import test_conformance_readers as data_sets  # noqa: E402
import test_mat  # noqa: E402
import test_mediapipe  # noqa: E402
import test_mmpose  # noqa: E402
import test_ntu_npz  # noqa: E402
import test_openpose  # noqa: E402
import test_pyskl  # noqa: E402
import test_yolo  # noqa: E402

# Files that are read together, by their path below a folder. What is damaged is one of them.
Case = Mapping[str, bytes]


KINECT_NAMES = (
    *("SpineBase", "SpineMid", "Neck", "Head", "ShoulderLeft", "ElbowLeft", "WristLeft", "HandLeft", "ShoulderRight"),
    *("ElbowRight", "WristRight", "HandRight", "HipLeft", "KneeLeft", "AnkleLeft", "FootLeft", "HipRight", "KneeRight"),
    *("AnkleRight", "FootRight", "SpineShoulder", "HandTipLeft", "ThumbLeft", "HandTipRight", "ThumbRight"),
)
AZURE_NAMES = (
    *("PELVIS", "SPINE_NAVEL", "SPINE_CHEST", "NECK", "CLAVICLE_LEFT", "SHOULDER_LEFT", "ELBOW_LEFT", "WRIST_LEFT"),
    *("HAND_LEFT", "HANDTIP_LEFT", "THUMB_LEFT", "CLAVICLE_RIGHT", "SHOULDER_RIGHT", "ELBOW_RIGHT", "WRIST_RIGHT"),
    *("HAND_RIGHT", "HANDTIP_RIGHT", "THUMB_RIGHT", "HIP_LEFT", "KNEE_LEFT", "ANKLE_LEFT", "FOOT_LEFT", "HIP_RIGHT"),
    *("KNEE_RIGHT", "ANKLE_RIGHT", "FOOT_RIGHT", "HEAD", "NOSE", "EYE_LEFT", "EAR_LEFT", "EYE_RIGHT", "EAR_RIGHT"),
)


def alone(contents: Iterable[bytes], name: str) -> list[Case]:
    """Return cases of a single file."""
    return [{name: content} for content in contents]


def json_bytes(*documents: object) -> list[bytes]:
    return [json.dumps(document).encode() for document in documents]


def below(make: Callable[[Path], object]) -> list[Case]:
    """Return all files that a function writes into a folder as one case."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return [{path.relative_to(folder).as_posix(): path.read_bytes() for path in files}]


def acclaim() -> list[Case]:
    return [{"01_01.amc": test_acclaim.MOTION.encode(), "01.asf": test_acclaim.SKELETON.encode()}]


def openpose() -> list[Case]:
    frames = [test_openpose.frame(test_openpose.person(float(at))) for at in range(4)]
    names = [f"clip_{at:012d}_keypoints.json" for at in range(4)]
    return [
        dict(zip(names, json_bytes(*frames), strict=True)),
        {"clip_000000000001_keypoints.json": test_openpose.GOOD},
    ]


def mediapipe() -> list[Case]:
    ways = [
        {"fps": 30, "frames": [way(test_mediapipe.landmarks(at / 8)) for at in range(2)]}
        for way in test_mediapipe.WAYS.values()
    ]
    return alone([test_mediapipe.GOOD, *json_bytes(*ways)], "clip.json")


def ui_prmd() -> list[Case]:
    """Ten frames of 22 joints: the waist's place and offsets of 10 cm, and small turns."""
    random = np.random.default_rng(0)
    tables = {"positions": random.normal(10, 1, (10, 66)), "angles": random.normal(0, 10, (10, 66))}
    return [
        {
            f"{kind}/m01_s02_e03_{kind}.txt": "".join(
                ",".join(f"{value:.4f}" for value in row) + "\n" for row in table
            ).encode()
            for kind, table in tables.items()
        }
    ]


def ntu() -> list[Case]:
    text = ntu_text.skeleton_text(
        [[(7, ntu_text.standing(0.01 * frame)), (8, ntu_text.standing(1))][: 1 + frame % 2] for frame in range(14)]
    )
    return [{"S001C001P001R001A001.skeleton": text.encode()}]


def kinect_json() -> list[Case]:
    body = data_sets.bodies(25, 3, 0)
    azure = {
        "joint_names": AZURE_NAMES,
        "bone_list": [[AZURE_NAMES[at], AZURE_NAMES[at + 1]] for at in range(len(AZURE_NAMES) - 1)],
        "frames": [
            {
                "timestamp_usec": 33_333 * at,
                "bodies": [{"body_id": 1, "joint_positions": (1000 * data_sets.bodies(32, 3, 0)[at]).tolist()}],
            }
            for at in range(3)
        ],
    }
    export = [
        {
            "bodies": [
                {
                    "trackingId": 7,
                    "joints": [
                        {
                            "JointType": name,
                            "Position": dict(zip("XYZ", map(float, place), strict=True)),
                            "TrackingState": 2,
                        }
                        for name, place in zip(KINECT_NAMES, frame, strict=True)
                    ],
                }
            ]
        }
        for frame in body
    ]
    ucla = json.loads(data_sets.ucla_text(data_sets.bodies(20, 3, 0)))
    return alone(json_bytes(ucla, azure, export), "clip.json")


def kinect_text() -> list[Case]:
    """MSR Action3D's 20 lines of a frame, and a frame per line."""
    body = data_sets.bodies(20, 4, 0)
    lines = "".join(" ".join(f"{value:.4f}" for value in (*joint, 1)) + "\n" for frame in body for joint in frame)
    rows = "".join(" ".join(f"{value:.4f}" for value in frame.ravel()) + "\n" for frame in body)
    return [{"a01_s01_e01_skeleton3D.txt": lines.encode()}, {"clip.txt": rows.encode()}]


def tables() -> list[Case]:
    """A row per joint, a row per frame, and that as Parquet."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("pelvis", "neck", "left_hip", "right_hip", "left_knee", "right_knee")
    body = data_sets.bodies(len(names), 4, 0)
    long = ["frame,person,joint,x,y,z,confidence"]
    long += [
        f"{at},0,{name},{x:.4f},{y:.4f},{z:.4f},0.9"
        for at, frame in enumerate(body)
        for name, (x, y, z) in zip(names, frame, strict=True)
    ]
    columns = [f"{name}_{axis}" for name in names for axis in "xyz"]
    wide = [",".join(["frame", *columns])]
    wide += [",".join([str(at), *(f"{value:.4f}" for value in frame.ravel())]) for at, frame in enumerate(body)]
    parquet = io.BytesIO()
    flat = body.reshape(len(body), -1)
    pq.write_table(
        pa.table({"frame": range(len(body))} | {name: flat[:, at] for at, name in enumerate(columns)}), parquet
    )
    return [
        *alone(["\n".join(lines).encode() for lines in (long, wide)], "clip.csv"),
        {"clip.parquet": parquet.getvalue()},
    ]


# By the names of formats (`marrow.importing.detect.FORMATS`).
FORMAT_SAMPLES: dict[str, Callable[[], list[Case]]] = {
    "bvh": lambda: [
        *alone([test_bvh_format.GOOD.encode(), data_sets.bvh_text(5, 0).encode()], "clip.bvh"),
        {f"clip{seed}.bvh": data_sets.bvh_text(3, seed).encode() for seed in range(3)},
    ],
    "acclaim": acclaim,
    "c3d": lambda: alone(
        [
            test_c3d.c3d(),
            test_c3d.c3d(scale=0.01, analog=2),
            test_c3d.c3d(processor=test_c3d.MIPS),
        ],
        "walk.c3d",
    ),
    "ntu_skeleton": ntu,
    "kinect_json": kinect_json,
    "openpose": openpose,
    "alphapose": lambda: alone([test_alphapose.GOOD, test_alphapose.GOOD_CMU], "alphapose-results.json"),
    "mmpose": lambda: alone([test_mmpose.GOOD], "results_clip.json"),
    "coco": lambda: alone([test_coco.GOOD], "person_keypoints.json"),
    "yolo_pose": lambda: alone([test_yolo.GOOD], "clip.json"),
    "mediapipe": mediapipe,
    "pyskl": lambda: alone(test_pyskl.GOOD, "clips.pkl"),
    "ntu_npz": lambda: alone(test_ntu_npz.GOOD, "NTU60_XSub.npz"),
    "array": lambda: [
        *alone(test_arrays.GOOD[:-1], "clips.npz"),
        *alone(test_arrays.GOOD[-1:], "clips.npy"),
    ],
    "mat": lambda: alone(test_mat.GOOD, "clip.mat"),
    "ui_prmd": ui_prmd,
    "table": tables,
    "kinect_text": kinect_text,
}

# By the names of readers (`marrow.readers.READERS`), of those that read files.
READER_SAMPLES: dict[str, Callable[[], list[Case]]] = {
    "bvh": lambda: [*below(data_sets.bvh_folder), {data_sets.BVH_NAME: data_sets.BVH_GOOD.encode()}],
    "ntu": ntu,
    "nw_ucla": lambda: alone([data_sets.ucla_text(data_sets.bodies(20, 3, 0)).encode()], data_sets.UCLA_NAME),
    "h36m": lambda: alone([data_sets.H36M_GOOD.encode()], data_sets.H36M_NAME),
    "penn_action": lambda: [
        *below(penn_files.folder_of_three),
        *below(lambda folder: penn_files.write(folder / "0001.mat")),
    ],
    "pku_mmd": lambda: below(data_sets.pku_mmd_folder),
    "utkinect": lambda: below(data_sets.utkinect_folder),
    "cmu_mocap": lambda: alone([data_sets.CMU_GOOD.encode()], data_sets.CMU_NAME),
}

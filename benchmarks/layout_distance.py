"""How far apart are the features of one recording in two layouts? Synthetic recordings, the encoder `general`.

    python benchmarks/layout_distance.py

Recordings of Kinect v2 (25 joints) are brought to layouts of fewer joints. Features are standardised by the recordings
as they are. Printed, per layout: the median distance of a recording from itself there, in units of the median distance
of two recordings; and how often the nearest of all is the recording itself.
"""

import argparse
from pathlib import Path

import numpy as np

import marrow
from marrow.readers.synthetic import Synthetic
from marrow.skeleton.retarget import retarget

LAYOUTS = ("kinect_v1_20", "coco_17", "h36m_17", "penn_13")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few recordings")
    arguments = parser.parse_args()
    reader = Synthetic(subjects=1 if arguments.quick else 18, repetitions=1 if arguments.quick else 2)
    records = list(reader.records(Path()))[:: 30 if arguments.quick else 60]
    recordings = [reader.read(Path(), record) for record in records]
    encoder = marrow.load_encoder("general")
    own = encoder.embed(recordings)
    mean, deviation = own.mean(0), own.std(0) + 1e-6
    own = (own - mean) / deviation
    between = np.linalg.norm(own[:, None] - own[None], axis=-1)[np.triu_indices(len(own), 1)]
    print(f"{len(recordings)} recordings")
    for name in LAYOUTS:
        brought = [retarget(recording, marrow.get_skeleton(name)) for recording in recordings]
        there = (encoder.embed(brought) - mean) / deviation
        distance = np.linalg.norm(there[:, None] - own[None], axis=-1)
        itself = np.median(np.diag(distance)) / np.median(between)
        nearest = 100.0 * (distance.argmin(1) == np.arange(len(own))).mean()
        print(f"{name:14s} {itself:.2f} of the distance between two; nearest to itself {nearest:.0f} %")


if __name__ == "__main__":
    main()

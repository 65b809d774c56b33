"""Files of one data set that differ in the joints that they have: those that were asked for, or all but some ends.

Of one capture some exports end an arm with an "End Site" of a length, others with one of none, or with nothing. Such an
end is no reason to refuse a file: what one file of a skeleton lacks or has as no joint is left out of all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from marrow.importing.recording import Contents, Recording, Source

# How the note on joints begins that a file has, and other files of its skeleton have not.
NOT_SHARED = "left out, not being in all files: "


@dataclass(frozen=True)
class Kept:
    """Which joints of a file are kept.

    Args:
        rows: which of the file's joints, in the order in which they are kept.
        note: on what is left out; "" where there is nothing to say.
    """

    rows: tuple[int, ...]
    note: str = ""

    def of(self, recording: Recording) -> Recording:
        """Return a recording with these joints alone."""
        confidence = recording.confidence
        return replace(
            recording,
            positions=recording.positions[:, :, list(self.rows)],
            confidence=None if confidence is None else confidence[:, :, list(self.rows)],
            notes=(*recording.notes, self.note) if self.note else recording.notes,
        )


def with_joints(contents: Contents, joints: Sequence[str]) -> tuple[Contents, Kept] | None:
    """Return a source as if it had some of its joints alone, so that files which share those are alike.

    Args:
        contents: of the source.
        joints: names, in the order in which they are wanted.

    Returns:
        the contents, and which of the file's joints each is; None where the source lacks one, names none, or has a
        known layout.
    """
    if contents.joints is None or contents.layout is not None or not set(joints) <= set(contents.joints):
        return None
    kept = tuple(contents.joints.index(joint) for joint in joints)
    place = {joint: index for index, joint in enumerate(kept)}
    tree, parents = contents.parents or (), []
    for joint in kept if tree else ():
        above = tree[joint]
        while above not in place and tree[above] != above:
            above = tree[above]
        parents.append(place.get(above, place[joint]))
    return replace(contents, joints=tuple(joints), joint_count=len(kept), parents=tuple(parents) or None), Kept(kept)


def with_shared_joints(contents: Mapping[Source, Contents]) -> tuple[dict[Source, Contents], dict[Source, Kept]]:
    """Leave out what some files of a skeleton lack, or have as no joint; files of other skeletons do not matter.

    Files are of one skeleton where their nodes have the same names, those apart that end a chain.

    Returns:
        the contents, and which joints are kept of the files that have more.
    """
    alike: dict[frozenset[str], list[Source]] = {}
    for source, found in contents.items():
        if found.joints is not None and found.parents is not None and found.layout is None:
            nodes = frozenset((*found.joints, *found.left_out)).difference(found.ends)
            alike.setdefault(nodes, []).append(source)
    result, kept = dict(contents), dict[Source, Kept]()
    for sources in alike.values():
        shared = set[str].intersection(*(set(contents[source].joints or ()) for source in sources))
        for source in sources if shared else ():
            joints = contents[source].joints or ()
            surplus = tuple(joint for joint in joints if joint not in shared)
            if surplus and (fewer := with_joints(contents[source], [joint for joint in joints if joint in shared])):
                result[source] = replace(fewer[0], not_shared=surplus)
                kept[source] = replace(fewer[1], note=f"{NOT_SHARED}{', '.join(surplus)}")
    return result, kept

"""Text of a BVH file for tests: an arm whose places can be worked out on paper."""

ARM = """HIERARCHY
ROOT Arm
{
\tOFFSET 0 0 0
\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
\tJOINT Hand
\t{
\t\tOFFSET 10 0 0
\t\tCHANNELS 3 Zrotation Xrotation Yrotation
\t\tEnd Site
\t\t{
\t\t\tOFFSET 0 5 0
\t\t}
\t}
}
MOTION
Frames:\t2
Frame Time:\t0.0333333
1 2 3 90 0 0 0 0 0
0 0 0 90 90 0 90 0 0
"""
# Frame 1: the root at (1, 2, 3), turned a quarter about z, which takes x to y and y to -x.
# Frame 2: turned by Rz Rx, so about x first. The offset of the hand, along x, comes to lie along y. Its own quarter
# turn about z takes (0, 5, 0) to (-5, 0, 0); the root's Rx leaves that, and its Rz takes it to (0, -5, 0).
ARM_PLACES = [[(1, 2, 3), (1, 12, 3), (-4, 12, 3)], [(0, 0, 0), (0, 10, 0), (0, 5, 0)]]


def upper_body(rows, root="Hips"):
    """A root at `OFFSET 0 95 0` with one child 12 above it that has position channels; a row of 12 numbers a frame."""
    channels = "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
    tree = f"HIERARCHY\nROOT {root}\n{{\nOFFSET 0 0 0\n{channels}\nJOINT Spine\n{{\nOFFSET 0 12 0\n{channels}\n"
    tree += "End Site\n{\nOFFSET 0 30 0\n}\n}\n}\n"
    return f"{tree}MOTION\nFrames: {len(rows)}\nFrame Time: 0.04\n" + "\n".join(rows) + "\n"

"""A gripper with two parallel fingers, as boxes.

Its own frame: the origin lies between the middles of the pads, x along the closing axis, z along the approach, from the
palm to the tips, y = z x x.
"""

from dataclasses import dataclass, fields, replace

from maquette.errors import InputError

_USUAL_OPENING_MM = 80.0  # the proportions below are those of a gripper of this opening


@dataclass(frozen=True)
class Gripper:
    """Two fingers that slide towards each other, and a palm behind them; lengths in millimetres.

    Attributes:
        opening_mm: between the pads when the gripper is open.
        finger_width_mm: of pads and fingers along y.
        finger_thickness_mm: of a finger along x, outward from its pad.
        finger_length_mm: from the middle of a pad back to the palm.
        tip_mm: from the middle of a pad on to the tip.
        palm_width_mm: along y; along x the palm is as wide as the open gripper.
        least_gap_mm: that fingers and palm keep from the object on their way, and what an opened pad keeps from its
            contact.
        least_width_mm: of what is held; below it the two sides of a splat can't be told apart.
    """

    opening_mm: float
    finger_width_mm: float = 20.0
    finger_thickness_mm: float = 10.0
    finger_length_mm: float = 45.0
    tip_mm: float = 10.0
    palm_width_mm: float = 60.0
    least_gap_mm: float = 2.0
    least_width_mm: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise InputError(f"gripper: {field.name} is {value}; it must be a length above 0")
        if self.widest_mm <= self.least_width_mm:
            raise InputError(
                f"gripper: opening_mm is {self.opening_mm:g}; with {self.least_gap_mm:g} mm of clearance on either side"
                f" nothing of {self.least_width_mm:g} mm or more fits in"
            )

    @property
    def widest_mm(self) -> float:
        """What the opening takes, with the least gap on either side."""
        return self.opening_mm - 2 * self.least_gap_mm


def usual_gripper(opening_mm: float) -> Gripper:
    """A gripper of an opening, with the proportions that two-finger grippers of 80 mm usually have.

    Raises:
        InputError: the opening is no length, or too small for the clearance.
    """
    scale = opening_mm / _USUAL_OPENING_MM
    lengths = {field.name: field.default * scale for field in fields(Gripper) if isinstance(field.default, float)}
    return Gripper(opening_mm, **lengths)


def with_fingers(gripper: Gripper, width_mm: float, thickness_mm: float, length_mm: float) -> Gripper:
    """The same with other fingers; `length_mm` is from palm to tip, and the pad's middle keeps its distance to the tip.

    Raises:
        InputError: a finger is shorter than its tip.
    """
    if length_mm <= gripper.tip_mm:
        raise InputError(
            f"fingers of {length_mm:g} mm; from palm to tip they must be longer than {gripper.tip_mm:g} mm"
        )
    return replace(
        gripper,
        finger_width_mm=width_mm,
        finger_thickness_mm=thickness_mm,
        finger_length_mm=length_mm - gripper.tip_mm,
    )

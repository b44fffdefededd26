import pytest

from maquette.errors import InputError
from maquette.methods.mask_choice import MaskChoice, read_choice, searches


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("auto", MaskChoice("auto")),
        ("none", MaskChoice("none")),
        ("box:1,2,30,40.5", MaskChoice("box", (1.0, 2.0, 30.0, 40.5))),
        ("box:-5,2,30,40", MaskChoice("box", (-5.0, 2.0, 30.0, 40.0))),
        ("point:7,8", MaskChoice("point", (7.0, 8.0))),
        ("rembg:isnet-general-use", MaskChoice("rembg", text="isnet-general-use")),
        ("a/mask.png", MaskChoice("file", text="a/mask.png")),
        ("./box:1", MaskChoice("file", text="./box:1")),
        ("alhpa", MaskChoice("file", text="alhpa")),
    ],
)
def test_what_may_be_said(text, choice):
    assert read_choice(text) == choice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("box:1,2,3", "box:X0,Y0,X1,Y1 takes 4 numbers"),
        ("box:", "takes 4 numbers"),
        ("box:1,2,nan,9", "takes 4 numbers"),
        ("box:10,2,17,90", "X1 must be at least 8 pixels right of X0"),
        ("box:50,2,10,90", "X1 must be at least 8 pixels right of X0"),
        ("point:1", "point:X,Y takes 2 numbers"),
        ("point:a,b", "point:X,Y takes 2 numbers"),
        ("point:1,inf", "takes 2 numbers"),
        ("rembg:", "names one of rembg's models"),
        ("rembg:../u2net", "names one of rembg's models"),
        ("", "is empty"),
    ],
)
def test_what_may_not(text, message):
    with pytest.raises(InputError) as caught:
        read_choice(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"--mask {text}".rstrip())
    assert "\n" not in str(caught.value)


def test_what_looks_at_colours():
    words = ("auto", "grabcut", "box:0,0,9,9", "point:1,1", "rembg:a", "none", "alpha", "m.png")
    assert [searches(word) for word in words] == [True] * 5 + [False] * 3

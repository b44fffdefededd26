"""The nouns move between devices as one, and refuse what doesn't fit together."""

import pytest
import torch

from maquette.errors import InputError
from maquette.types import Camera, Gaussians, Mesh, Photo, Scene, View


def view() -> View:
    photo = Photo(torch.zeros(4, 6, 3), torch.ones(4, 6, dtype=torch.bool))
    return View(photo, Camera(6, 4, 5.0, (3.0, 2.0), torch.eye(4)))


def test_to_moves_every_tensor_and_keeps_the_rest():
    texture = torch.zeros(2, 2, 3, dtype=torch.uint8)
    mesh = Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), uv=torch.zeros(3, 2), textures=(texture,), unit_mm=2.0)
    moved = mesh.to("meta")
    assert {moved.vertices.device.type, moved.faces.device.type, moved.textures[0].device.type} == {"meta"}
    assert (moved.normals, moved.unit_mm) == (None, 2.0)
    scene = Scene((view(),), torch.tensor([[-1.0] * 3, [1.0] * 3]), torch.eye(4)).to("meta")
    assert scene.views[0].photo.mask.device.type == scene.views[0].camera.camera_to_world.device.type == "meta"
    splat = Gaussians(torch.zeros(1, 3), torch.ones(1, 3), torch.ones(1, 4), torch.ones(1), torch.zeros(1, 1, 3))
    assert splat.cpu().sh is splat.sh


def test_a_view_s_photo_is_as_large_as_its_camera_s_image():
    with pytest.raises(InputError, match="the photo is 6x4, its camera's image 5x4"):
        View(view().photo, Camera(5, 4, 5.0, (3.0, 2.0), torch.eye(4)))
    with pytest.raises(InputError, match="at least one view"):
        Scene((), torch.zeros(2, 3), torch.eye(4))

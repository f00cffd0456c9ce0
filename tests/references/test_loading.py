import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.ops.rle import decode_rle
from no_time_to_train.references.loading import (
    inline_references,
    join_references,
    load_references,
    parse_inline_reference,
)
from no_time_to_train.structures import Category

SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


def save_image(path, width=60, height=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), "gray").save(path)
    return path


def save_mask(path, box, width=60, height=40):
    mask = np.zeros((height, width), np.uint8)
    x1, y1, x2, y2 = box
    mask[y1:y2, x1:x2] = 255
    Image.fromarray(mask).save(path)


@pytest.fixture
def coco(tmp_path):
    """Writes refs/annotations.json (two images of 60 x 40) and returns its path."""

    def write(annotations, categories, images_folder="refs"):
        for name in ("a.jpg", "b.jpg"):
            save_image(tmp_path / images_folder / name)
        data = {
            "images": [
                {"id": i, "file_name": name, "height": 40, "width": 60} for i, name in ((1, "a.jpg"), (2, "b.jpg"))
            ],
            "annotations": [
                {"id": n, "image_id": 1, "bbox": [10, 10, 10, 10]} | entry for n, entry in enumerate(annotations, 1)
            ],
            "categories": [{"id": i, "name": name} for i, name in categories.items()],
        }
        path = tmp_path / "refs" / "annotations.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(data))
        return path

    return write


BOAT = {"category_id": 9}
BIRD = {"category_id": 16, "image_id": 2}


def test_masks_boxes_and_crowds(coco, tmp_path):
    path = coco([BIRD | {"segmentation": SQUARE}, BOAT, BOAT | {"iscrowd": 1}], {16: "bird", 9: "boat"})
    references = load_references(path)
    assert references.categories == (Category(9, "boat"), Category(16, "bird"))
    assert references.counts() == {"boat": 1, "bird": 1}
    bird, boat = references.instances
    assert bird.image_path == tmp_path / "refs" / "b.jpg" and bird.image_id == 2 and bird.annotation_id == 1
    assert bird.box_xyxy == (10, 10, 20, 20) and decode_rle(bird.mask).shape == (40, 60)
    assert decode_rle(bird.mask).sum() == 100  # a rectangle that equals the box stays a mask
    assert boat.mask is None


def test_a_category_without_reference_is_kept_and_named(coco, caplog):
    with caplog.at_level(logging.WARNING):
        references = load_references(coco([BOAT], {9: "boat", 16: "bird"}))
    assert references.counts() == {"boat": 1, "bird": 0}
    assert "is of 'bird' (id 16). Add some" in caplog.text
    assert "leave them out with categories=['boat']." in caplog.text


def test_many_categories_without_reference_are_one_warning(coco, caplog):
    load_references(coco([BOAT], {9: "boat", **{number: f"thing {number}" for number in range(20, 92)}}))
    [warning] = caplog.messages
    assert "'thing 20' (id 20), " in warning and "and 67 more. Add some" in warning


def test_chosen_categories(coco, caplog):
    path = coco([BOAT, BIRD], {9: "boat", 16: "bird"})
    assert load_references(path, categories=["bird"]).counts() == {"bird": 1}
    assert not caplog.records
    with pytest.raises(InputError, match=r"no such class\. Known: boat, bird\. Did you mean 'boat'\?"):
        load_references(path, categories=["boats"])


def test_only_images_with_references_need_to_be_there(coco, tmp_path):
    path = coco([BOAT], {9: "boat"})
    (tmp_path / "refs" / "b.jpg").unlink()
    assert len(load_references(path)) == 1


def test_missing_images(coco, tmp_path):
    path = coco([BOAT, BIRD], {9: "boat", 16: "bird"}, images_folder="photos")
    with pytest.raises(InputFileNotFoundError, match=r"2 of 2 reference images not found.*images=.*photos'\?"):
        load_references(path)
    assert load_references(path, tmp_path / "photos").instances[0].image_path == tmp_path / "photos" / "a.jpg"


def test_no_usable_reference_at_all(coco):
    with pytest.raises(InputError, match="no usable reference"):
        load_references(coco([BOAT | {"iscrowd": 1}], {9: "boat"}))


def test_a_wrong_image_size_is_refused(coco, tmp_path):
    path = coco([BOAT], {9: "boat"})
    save_image(tmp_path / "refs" / "a.jpg", width=40, height=60)
    with pytest.raises(InputError, match=r"wrong size for 1 images.*a\.jpg is 40x60.*swapped"):
        load_references(path)


def test_a_damaged_mask_names_its_annotation(coco):
    path = coco([BOAT | {"area": 1, "segmentation": [[1, 2, 3, 4, 5, 6, 7]]}], {9: "boat"})
    with pytest.raises(InputError, match=r"annotations\.json: 1 annotations are damaged: annotation 1: Each polygon"):
        load_references(path)


def test_backgrounds_are_one_category_and_always_stay(coco):
    path = coco([BOAT, {"category_id": 3}, {"category_id": 5}], {3: "!water", 5: "_background", 9: "boat"})
    references = load_references(path, categories=["boat"])
    assert references.categories == (Category(3, "_background"), Category(9, "boat"))
    assert references.counts() == {"_background": 2, "boat": 1}


def test_a_folder_with_a_coco_file(coco, tmp_path):
    path = coco([BOAT], {9: "boat"})
    assert len(load_references(path.parent)) == 1
    path.rename(path.with_name("export-2024.json"))
    assert len(load_references(str(path.parent))) == 1
    (path.parent / "other.json").touch()
    with pytest.raises(InputError, match="several annotation files"):
        load_references(path.parent)


@pytest.fixture
def folders(tmp_path):
    """refs/ with a folder per category, one mask name of each kind, one palette file with two instances."""
    refs = tmp_path / "refs"
    save_image(refs / "boat" / "a.jpg")
    save_mask(refs / "boat" / "a.png", (5, 6, 15, 16))
    save_image(refs / "boat" / "b.png")
    save_mask(refs / "boat" / "b_mask.png", (0, 0, 60, 40))
    save_image(refs / "!sea" / "c.jpg")
    save_mask(refs / "!sea" / "c_mask.png", (0, 0, 10, 10))
    return refs


def test_folder_per_category(folders):
    references = load_references(folders)
    assert references.categories == (Category(1, "_background"), Category(2, "boat"))
    assert references.counts() == {"_background": 1, "boat": 2}
    boat = next(r for r in references.instances if r.image_path.name == "a.jpg")
    assert boat.box_xyxy == (5, 6, 15, 16)
    expected = np.zeros((40, 60), bool)
    expected[6:16, 5:15] = True
    np.testing.assert_array_equal(decode_rle(boat.mask), expected)
    assert [r.annotation_id for r in references.instances] == [1, 2, 3]
    assert len({r.image_id for r in references.instances}) == 3


def test_every_instance_of_an_index_mask_is_a_reference(folders):
    indices = np.zeros((40, 60), np.uint16)
    indices[:5, :5], indices[10:30, 10:40] = 1, 2
    Image.fromarray(indices).save(folders / "boat" / "a.png")
    boats = [r for r in load_references(folders).instances if r.image_path.name == "a.jpg"]
    assert [r.box_xyxy for r in boats] == [(0, 0, 5, 5), (10, 10, 40, 30)]
    assert boats[0].image_id == boats[1].image_id


def test_faulty_folders_list_every_fault(folders):
    save_image(folders / "boat" / "lonely.jpg")
    save_mask(folders / "boat" / "a.png", (0, 0, 5, 5), width=40, height=60)
    with pytest.raises(InputError, match=r"(?s)2 references cannot be used.*swapped.*lonely\.jpg has no mask"):
        load_references(folders)


def test_folder_without_references(tmp_path):
    with pytest.raises(InputError, match="holds no references"):
        load_references(tmp_path)
    with pytest.raises(InputFileNotFoundError):
        load_references(tmp_path / "gone")


def test_an_empty_category_folder_is_a_category_without_reference(folders, caplog):
    (folders / "bird").mkdir()
    assert load_references(folders).counts()["bird"] == 0
    assert "'bird'" in caplog.text


def test_inline_reference(tmp_path):
    path = save_image(tmp_path / "odd:name.jpg")
    item = parse_inline_reference(f"{path}:boat:3,4,30.5,40")
    assert (item.image_path, item.label, item.box_xyxy, item.mask) == (path, "boat", (3, 4, 30.5, 40), None)


@pytest.mark.parametrize(
    "rest",
    [
        "boat:1,2,3",
        "boat:1,2,3,x",
        "1,2,3,4",
        "boat:5,5,5,9",
        "boat:100,5,200,9",
        ":1,2,3,4",
        "boat:-1,2,3,4",
        "boat:1,2,61,4",
    ],
)
def test_bad_inline_references(tmp_path, rest):
    path = save_image(tmp_path / "a.jpg")
    with pytest.raises((InputError, InputFileNotFoundError)):
        parse_inline_reference(f"{path}:{rest}")


def save_turned(path: Path) -> Path:
    """Write an image that is stored 60 x 40 and seen 40 x 60 (width x height)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(path, exif=exif)
    return path


def coco_of_size(path: Path, width: int, height: int) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": width, "height": height}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 1, "name": "boat"}],
    }
    path.write_text(json.dumps(content))
    return path


def test_annotations_are_of_upright_images(tmp_path):
    save_turned(tmp_path / "a.jpg")
    seen = load_references(coco_of_size(tmp_path / "seen.json", 40, 60))
    assert seen.instances[0].upright
    stored = load_references(coco_of_size(tmp_path / "stored.json", 60, 40), upright=False)
    assert not stored.instances[0].upright


@pytest.mark.parametrize(("size", "upright"), [((60, 40), True), ((40, 60), False)])
def test_annotations_of_the_other_orientation_are_refused_with_advice(tmp_path, size, upright):
    save_turned(tmp_path / "a.jpg")
    advice = "images.exif=ignore" if upright else "images.exif=upright"
    with pytest.raises(InputError, match=f"swapped.*{advice}"):
        load_references(coco_of_size(tmp_path / "a.json", *size), upright=upright)


def test_labelme_files_of_stored_pixels_go_with_images_that_are_not_turned(tmp_path):
    save_turned(tmp_path / "a.jpg")
    shape = {"label": "boat", "points": [[1, 1], [50, 30]], "shape_type": "rectangle"}
    content = {"imagePath": "a.jpg", "imageWidth": 60, "imageHeight": 40, "shapes": [shape]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="images.exif=ignore"):
        load_references(tmp_path / "a.json")
    assert load_references(tmp_path / "a.json", upright=False).instances[0].box_xyxy == (1, 1, 50, 30)


def test_boxes_on_the_command_line_are_of_upright_images(tmp_path):
    path = save_turned(tmp_path / "a.jpg")
    assert parse_inline_reference(f"{path}:boat:0,0,40,60").box_xyxy == (0, 0, 40, 60)
    with pytest.raises(InputError, match="40x60"):
        parse_inline_reference(f"{path}:boat:0,0,60,40")


def test_inline_references_share_images_and_categories(tmp_path):
    path = save_image(tmp_path / "a.jpg")
    references = inline_references([f"{path}:boat:1,2,3,4", f"{path}:!sea:5,6,7,8", f"{path}:boat:9,9,20,20"])
    assert references.categories == (Category(1, "boat"), Category(2, "_background"))
    assert references.counts() == {"boat": 2, "_background": 1}
    assert {r.image_id for r in references.instances} == {1}


def test_several_mask_files_of_one_image(tmp_path):
    save_image(tmp_path / "refs/boat/a.jpg")
    for name, left in (("a_mask_0", 0), ("a_mask_2", 20), ("a_mask_10", 30), ("a_mask", 10)):
        save_mask(tmp_path / f"refs/boat/{name}.png", (left, 0, left + 5, 5))
    save_image(tmp_path / "refs/boat/a_b.png")
    save_mask(tmp_path / "refs/boat/a_b_mask.png", (0, 30, 5, 35))
    references = load_references(tmp_path / "refs")
    first, second = (
        [i.box_xyxy[0] for i in references.instances if i.image_path.name == n] for n in ("a.jpg", "a_b.png")
    )
    assert (first, second) == ([10, 0, 20, 30], [0])


def test_two_people_of_a_label_map_are_two_references(tmp_path):
    """Like PennFudan: an 8-bit mask with the values 0, 1 and 2."""
    save_image(tmp_path / "refs/person/FudanPed1.png")
    mask = np.zeros((40, 60), np.uint8)
    mask[5:30, 5:15], mask[5:30, 30:45] = 1, 2
    Image.fromarray(mask).save(tmp_path / "refs/person/FudanPed1_mask.png")
    references = load_references(tmp_path / "refs")
    assert [i.box_xyxy for i in references.instances] == [(5, 5, 15, 30), (30, 5, 45, 30)]


@pytest.mark.parametrize("images", ["images", "images/default"])
def test_the_folder_of_a_cvat_export(coco, tmp_path, images):
    path = coco([BOAT], {9: "boat"}, images_folder=f"export/{images}")
    (tmp_path / "export/annotations").mkdir()
    path.rename(tmp_path / "export/annotations/instances_default.json")
    [boat] = load_references(tmp_path / "export").instances
    assert boat.image_path == tmp_path / "export" / images / "a.jpg"


def test_crowds_are_said_and_used_on_request(coco, caplog):
    """CVAT and Datumaro mark every brush mask as a crowd."""
    path = coco([BOAT, BIRD | {"iscrowd": 1}, BIRD | {"iscrowd": 1}], {9: "boat", 16: "bird"})
    assert load_references(path).counts() == {"boat": 1, "bird": 0}
    assert "marked as crowds (iscrowd 1) are left out: 2 of 'bird'. CVAT and Datumaro" in caplog.text
    assert "crowds_are_objects=True uses them" in caplog.text
    assert load_references(path, crowds_are_objects=True).counts() == {"boat": 1, "bird": 2}
    with pytest.raises(InputError, match=r"no usable reference.*with crowds_are_objects=True it does"):
        load_references(coco([BIRD | {"iscrowd": 1}], {16: "bird"}))


def test_references_of_two_sources_are_joined_by_name(coco, tmp_path):
    first = load_references(coco([BOAT, BIRD], {9: "boat", 16: "bird"}))
    image = tmp_path / "refs" / "a.jpg"
    other = save_image(tmp_path / "c.jpg")
    second = inline_references([f"{image}:boat:1,2,3,4", f"{other}:sun:1,2,3,4", f"{other}:sun:5,5,9,9"])
    joined = join_references(first, second)
    assert joined.counts() == {"boat": 2, "bird": 1, "sun": 2}
    assert joined.categories[-1] == Category(17, "sun")
    assert [item.image_id for item in joined.instances] == [1, 2, 1, "added image 2", "added image 2"]
    assert len({item.annotation_id for item in joined.instances}) == 5

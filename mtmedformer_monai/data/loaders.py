"""The transforms that load an item's files, found among those of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtmedformer_monai.transforms.errors import AnnotationError, RadiographError

from .findings import ANNOTATION, UNREADABLE, Finding

if TYPE_CHECKING:
    from mtmedformer_monai.transforms.load_targets import EncodesTarget


@dataclass(frozen=True)
class Loaders:
    """What reads the image and the masks, and encodes the targets.

    Attributes:
        transforms: called one after the other.
        tasks: whose targets are encoded.
        encodes_targets: whether a `LoadTargetsd` is among the transforms; inference has none.
    """

    transforms: tuple[Any, ...]
    tasks: tuple[EncodesTarget, ...] = ()
    encodes_targets: bool = False

    def try_to_load(self, item: Mapping[str, Any]) -> list[Finding]:
        """Loads an item, and tells what is wrong instead of raising it."""
        loaded: Any = dict(item)
        try:
            for transform in self.transforms:
                loaded = transform(loaded)
        except (RadiographError, OSError) as error:
            return [Finding(UNREADABLE, f"it cannot be read: {error}")]
        except AnnotationError as error:
            return [Finding(ANNOTATION, str(error))]
        except Exception as error:  # a checker lists what it did not foresee, too
            return [Finding(UNREADABLE, f"it cannot be read ({type(error).__name__}: {error}); leave it out.")]
        return []


def find_loaders(transforms: Sequence[Any] | None) -> Loaders:
    """The `LoadRadiographd` and `LoadTargetsd` among transforms; without transforms, those of default settings."""
    from mtmedformer_monai.keys import IMAGE
    from mtmedformer_monai.transforms import LoadRadiographd, LoadTargetsd

    if transforms is None:
        return Loaders((LoadRadiographd(IMAGE), LoadTargetsd([])), (), True)
    chosen = tuple(each for each in transforms if isinstance(each, (LoadRadiographd, LoadTargetsd)))
    tasks = tuple(task for each in chosen if isinstance(each, LoadTargetsd) for task in each.tasks)
    return Loaders(chosen, tasks, any(isinstance(each, LoadTargetsd) for each in chosen))

"""Networks, their pretrained weights and their accuracy."""

from collections.abc import Callable
from functools import partial

from torch import nn

from quietbar.contract.errors import require_choice

from .accuracy import accuracy, evaluation_mode, kept_modes
from .digits import DigitsNetwork, digits_network
from .efficientnet_lite import NAME as EFFICIENTNET_LITE
from .efficientnet_lite import EfficientNetLite, load_efficientnet_lite
from .mobilenet import WIDTHS as MOBILENET_WIDTHS
from .mobilenet import MobileNetV2, mobilenetv2
from .pretrained import PRETRAINED, load_pretrained
from .resnet import DEPTHS, BasicBlock, ResNet, resnet
from .small import SmallNetwork, small_network
from .vgg import VGG, VGG_DEPTHS, vgg
from .weights import WeightsError, load_weights, read_weights

__all__ = [
    "NAMES",
    "PRETRAINED",
    "VGG",
    "BasicBlock",
    "DigitsNetwork",
    "EfficientNetLite",
    "MobileNetV2",
    "ResNet",
    "SmallNetwork",
    "WeightsError",
    "accuracy",
    "create",
    "digits_network",
    "evaluation_mode",
    "kept_modes",
    "load_efficientnet_lite",
    "load_pretrained",
    "load_weights",
    "mobilenetv2",
    "read_weights",
    "resnet",
    "small_network",
    "vgg",
]

_NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "digits": digits_network,
    EFFICIENTNET_LITE: EfficientNetLite,
    **{f"mobilenetv2-{width}": partial(mobilenetv2, width) for width in MOBILENET_WIDTHS},
    **{f"resnet{depth}": partial(resnet, depth) for depth in DEPTHS},
    "small": small_network,
    "small-gray": partial(small_network, channels=1),
    **{f"vgg{depth}": partial(vgg, depth) for depth in VGG_DEPTHS},
}
NAMES = tuple(_NETWORKS)


def create(name: str, classes: int = 10) -> nn.Module:
    """A new network, with random weights drawn from torch's random state.

    Args:
        name: one of ``NAMES``: ``digits`` (inputs N x 1 x 8 x 8), ``small`` (N x 3 x H x W), ``small-gray``
            (N x 1 x H x W), ``efficientnet-lite0`` (N x 3 x 224 x 224), ``mobilenetv2-0.35`` to ``mobilenetv2-1.4``,
            ``resnet20`` to ``resnet56`` or ``vgg11`` to ``vgg16`` (N x 3 x 32 x 32).
        classes: number of class scores.

    Raises:
        ConfigurationError: unknown name, or fewer than two classes.
    """
    require_choice("model", name, NAMES)
    return _NETWORKS[name](classes)

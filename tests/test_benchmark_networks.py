"""Networks of the benchmarks, compared with published counts."""

from decimal import Decimal

import pytest
from benchmarks.networks import CLASSICAL, NETWORKS

_TORCHVISION = "num_params and _ops of the weights' metadata in torchvision 0.29"

# Parameters and multiplications as published, with all their digits, and where. Multiplications are left out where the
# source does not state them for the same extent, or counts those of attention, too.
PUBLISHED = {
    "resnet18": ("11689512", "1.814E9", _TORCHVISION),
    "resnet34": ("21797672", "3.664E9", _TORCHVISION),
    "resnet101": ("44549160", "7.801E9", _TORCHVISION),
    "wide_resnet50_2": ("68883240", "11.398E9", _TORCHVISION),
    "seresnet50": ("28.09E6", None, "timm, seresnet50"),
    "resnext50_32x4d": ("25028904", "4.230E9", _TORCHVISION),
    "resnext101_32x8d": ("88791336", "16.414E9", _TORCHVISION),
    "regnet_x_400mf": ("5495976", "0.414E9", _TORCHVISION),
    "regnet_y_400mf": ("4344144", "0.402E9", _TORCHVISION),
    "regnet_y_4gf": ("20.6E6", "4.0E9", "Radosavovic et al. 2020, table of RegNetY"),
    "densenet121": ("7978856", "2.834E9", _TORCHVISION),
    "inception_v3": ("27161264", "5.713E9", _TORCHVISION),
    "xception": ("22855952", None, "Chollet 2017, table 3"),
    "squeezenet1_1": ("1235496", "0.349E9", _TORCHVISION),
    "mobilenet_v1": ("4.2E6", "569E6", "Howard et al. 2017, table 4"),
    "mobilenet_v2": ("3504872", "0.301E9", _TORCHVISION),
    "mobilenet_v3_large": ("5483032", "0.217E9", _TORCHVISION),
    "mobilenet_v3_small": ("2542856", "0.057E9", _TORCHVISION),
    "mnasnet": ("4383312", "0.314E9", _TORCHVISION),
    "shufflenet_v1": (None, "137E6", "Zhang et al. 2018, table 1"),
    "shufflenet_v2": ("2278604", "0.145E9", _TORCHVISION),
    "efficientnet_b0": ("5288548", "0.386E9", _TORCHVISION),
    "efficientnet_b4": ("19341616", "4.394E9", _TORCHVISION),
    "efficientnet_v2_s": ("21458488", "8.366E9", _TORCHVISION),
    "convnext_tiny": ("28589128", "4.456E9", _TORCHVISION),
    "convnext_base": ("88591464", "15.355E9", _TORCHVISION),
    "vit_b_16": ("86567656", None, _TORCHVISION),
    "vit_b_32": ("88224232", None, _TORCHVISION),
    "swin_t": ("28288354", None, _TORCHVISION),
    "yolov3": (None, "32.93E9", "Redmon's page of Darknet, YOLOv3-416: 65.86 Bn operations, two per multiplication"),
    "yolov8n": ("3157200", None, "ultralytics, cfg/models/v8/yolov8.yaml"),
    "deeplabv3_resnet50": ("42004074", "178.722E9", _TORCHVISION),
    "lraspp_mobilenet_v3_large": ("3221538", "2.086E9", _TORCHVISION),
    # Theirs has 1,152 weights for two more channels of the image, and 5,888 values of normalisations instead of biases.
    "unet": (str(31037698 - 1152 - 5888), None, "milesial/Pytorch-UNet"),
    "unet3d": ("19069955", None, "Çiçek et al. 2016, section 2"),
    "srcnn": ("57184", None, "Dong et al. 2016, table 1, filters 9-5-5"),
    "fsrcnn": ("12464", None, "Dong et al. 2016 (FSRCNN), section 4.3"),
    "vdsr": ("665E3", None, "Ahn et al. 2018 (CARN), table 1"),
    "edsr_baseline": ("1.52E6", None, "README of EDSR-PyTorch, the repository of the paper's authors"),
    "wavenet": ("24.73E6", None, "Kong et al. 2020 (HiFi-GAN), table 1"),
    "hifigan": ("13.92E6", None, "Kong et al. 2020 (HiFi-GAN), table 1, V1"),
    "c3d": ("78.4E6", "38.5E9", "MMAction2, configuration of C3D"),
    "r3d_18": ("33371472", "40.697E9", _TORCHVISION),
    "r2plus1d_18": ("31505325", "40.519E9", _TORCHVISION),
}


def test_every_network_has_a_published_count():
    assert PUBLISHED.keys() == NETWORKS.keys() - set(CLASSICAL)  # those are tested with fastconv.networks
    assert all(parameters or multiplications for parameters, multiplications, _ in PUBLISHED.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name):
    """To within one unit of the last published digit: sources round and truncate."""
    net, (parameters, multiplications, _) = NETWORKS[name](), PUBLISHED[name]
    for counted, published in ((net.parameters, parameters), (net.multiplications, multiplications)):
        if published is not None:
            unit = Decimal(10) ** Decimal(published).as_tuple().exponent
            assert abs(counted - Decimal(published)) < unit

"""NPP: images on a card, resized, turned, filtered, measured and put into other colours. Importing loads nothing.

    photo = Image.from_numpy(stream, pixels)                          # (H, W, 3) uint8
    small = Image.empty(stream, 224, 224, 3)
    resize(stream, photo, small, Interpolation.INTER_CUBIC)
    planes = Image.empty(stream, 224, 224, 3, planar=True)
    copy(stream, small, planes)

One function an operation: the types and channels of its images choose NPP's own. Each writes into a target that is
there already, in the order of the stream, and returns at once.
"""

from __future__ import annotations

from gocudnn_py._abi.npp import NppCmpOp as Comparison
from gocudnn_py._abi.npp import NppiAlphaOp as AlphaOp
from gocudnn_py._abi.npp import NppiAxis as Axis
from gocudnn_py._abi.npp import NppiBorderType as Border
from gocudnn_py._abi.npp import NppiDifferentialKernel as DifferentialKernel
from gocudnn_py._abi.npp import NppiInterpolationMode as Interpolation
from gocudnn_py._abi.npp import NppiNorm as Norm
from gocudnn_py._abi.npp import NppRoundMode as RoundMode

from .arithmetic import (
    absolute,
    absolute_difference,
    add,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    compose,
    divide,
    exponential,
    multiply,
    natural_logarithm,
    square,
    square_root,
    subtract,
)
from .color import color_twist, from_rgb, gamma, nv12_to_rgb, rgb_to_gray, swap_channels, to_rgb
from .context import library_version, stream_context
from .data import convert, copy, fill, pad, scale, transpose
from .features import Lines, canny, harris, histogram_of_gradients, hough_lines
from .filters import bilateral, box, convolve, gauss, laplace, median, sobel
from .geometry import mirror, remap, resize, resize_by, rotate, warp_affine, warp_perspective
from .gradients import HogSettings
from .image import Image
from .labels import compress_markers, label_markers
from .morphology import dilate, erode
from .results import Result
from .statistics import even_levels, histogram, integral, mean, mean_std, min_max, total
from .thresholds import compare, threshold
from .transforms import (
    affine_bound,
    affine_quad,
    affine_transform,
    perspective_bound,
    perspective_quad,
    perspective_transform,
    resize_region,
    rotate_bound,
    rotate_quad,
)

__all__ = [
    "AlphaOp",
    "Axis",
    "Border",
    "Comparison",
    "DifferentialKernel",
    "HogSettings",
    "Image",
    "Interpolation",
    "Lines",
    "Norm",
    "Result",
    "RoundMode",
    "absolute",
    "absolute_difference",
    "add",
    "affine_bound",
    "affine_quad",
    "affine_transform",
    "bilateral",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "box",
    "canny",
    "color_twist",
    "compare",
    "compose",
    "compress_markers",
    "convert",
    "convolve",
    "copy",
    "dilate",
    "divide",
    "erode",
    "even_levels",
    "exponential",
    "fill",
    "from_rgb",
    "gamma",
    "gauss",
    "harris",
    "histogram",
    "histogram_of_gradients",
    "hough_lines",
    "integral",
    "label_markers",
    "laplace",
    "library_version",
    "mean",
    "mean_std",
    "median",
    "min_max",
    "mirror",
    "multiply",
    "natural_logarithm",
    "nv12_to_rgb",
    "pad",
    "perspective_bound",
    "perspective_quad",
    "perspective_transform",
    "remap",
    "resize",
    "resize_by",
    "resize_region",
    "rgb_to_gray",
    "rotate",
    "rotate_bound",
    "rotate_quad",
    "scale",
    "sobel",
    "square",
    "square_root",
    "stream_context",
    "subtract",
    "swap_channels",
    "threshold",
    "to_rgb",
    "total",
    "transpose",
    "warp_affine",
    "warp_perspective",
]

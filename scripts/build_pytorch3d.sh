#!/bin/sh
# Build PyTorch3D for the torch that is installed, where the wheel of the extra `pytorch3d` does not load:
#
#     sh scripts/build_pytorch3d.sh [PYTHON]          # PYTHON: of the environment that has torch (default: python3)
#
# It takes a C++ compiler and, for --device cuda, nvcc of the CUDA version that torch was built for. Without nvcc it
# builds for the CPU alone. Set TORCH_CUDA_ARCH_LIST for another GPU than the one that is there (9.0 is H100 and H200).
set -eu

python=${1:-python3}
version=0.7.6 # the wheel of the extra comes without its sources; this package is PyTorch3D with them

if command -v nvcc >/dev/null 2>&1 || [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; then
    export FORCE_CUDA=1
    if [ -z "${TORCH_CUDA_ARCH_LIST:-}" ]; then
        capability='import torch; print("%d.%d" % torch.cuda.get_device_capability())'
        TORCH_CUDA_ARCH_LIST=$("$python" -c "$capability" 2>/dev/null) || {
            echo "no GPU that torch can use is here: say for which one, as in TORCH_CUDA_ARCH_LIST=9.0 (H100, H200)" >&2
            exit 2
        }
        export TORCH_CUDA_ARCH_LIST
    fi
    # headers that a small toolkit lacks have come with torch
    headers='import glob, pathlib, torch; print(*glob.glob(f"{pathlib.Path(torch.__file__).parents[1]}/nvidia/*/include"), sep=":")'
    CPATH=${CPATH:+$CPATH:}$("$python" -c "$headers")
    export CPATH
    echo "Building PyTorch3D $version with CUDA for GPUs of compute capability $TORCH_CUDA_ARCH_LIST."
else
    echo "nvcc was not found: building PyTorch3D $version without CUDA, for the CPU alone."
fi

"$python" -m pip install --quiet 'setuptools>=64' wheel iopath fvcore
# without isolation, or it would be built for a torch of its own
"$python" -m pip install --no-deps --no-build-isolation --force-reinstall --no-binary pipablepytorch3d "pipablepytorch3d==$version"
"$python" -c 'import torch, pytorch3d._C; print("PyTorch3D loads with torch", torch.__version__)'

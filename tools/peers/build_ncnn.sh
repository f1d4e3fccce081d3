#!/usr/bin/env bash
# Builds ncnn for one thread, from an unpacked source package or checkout of it: without OpenMP, whose parallel regions cost the wheel
# from PyPI about a microsecond a step with one thread too, and for AVX2 only if asked.
#
#   ./build_ncnn.sh SOURCE DIR          then: python peers.py --ncnn-path DIR
#   ./build_ncnn.sh SOURCE DIR avx2     then: python peers.py --isa avx2 --ncnn-path DIR
set -euo pipefail
if [ $# -lt 2 ] || [ ! -d "$1/src/layer" ] || { [ $# -gt 2 ] && [ "$3" != avx2 ]; }; then
	sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
	exit 2
fi
args="-DNCNN_OPENMP=OFF -DNCNN_VULKAN=OFF"
if [ "${3:-}" = avx2 ]; then
	args+=" -DNCNN_AVX512=OFF -DNCNN_AVXVNNI=OFF -DNCNN_AVXVNNIINT8=OFF -DNCNN_AVXVNNIINT16=OFF -DNCNN_AVXNECONVERT=OFF"
fi
keep=" lstm gru innerproduct softmax split noop packing flatten input cast quantize dequantize requantize convolution padding gemm "
for f in "$1"/src/layer/*.cpp; do
	layer=$(basename "$f" .cpp)
	[[ $keep == *" $layer "* ]] || args+=" -DWITH_LAYER_$layer=OFF"
done
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$1/." "$copy"
rm -rf "$copy/build"
EXTRA_CMAKE_ARGS=$args "${PYTHON:-python3}" -m pip install --no-deps --upgrade --target "$2" "$copy"

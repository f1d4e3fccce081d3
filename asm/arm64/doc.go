// Package arm64 holds leaf routines for AArch64: no stack, no calls, no checks. Package kernels calls them with lengths it has made right,
// and its portable functions say what each computes, to the bit. They come from asm/csrc/arm64 through objasm.
//
// k is the table of constants whose rows asm/csrc/arm64/vec.h names; blocks counts hidden units in eights.
//
// The matrix-vector products write, for each of 32*panels rows, the sum over the columns of weight times activation: as int32 where scale
// is nil, otherwise as float32 sum*scale + add, rounded once. w holds the panels, x groups*4 activations, groups is even and not 0.
// Gemv2 takes two columns of activations, Gemv4 four, and they write columns of sums stride bytes apart. With a scale, Gemv2 writes the one
// column (sum₀*256 + sum₁)*scale + add, rounded after each addition.
package arm64

//go:generate go run ../internal/objasm -arch arm64 -mcpu cortex-a53 -o cells_arm64 ../csrc/arm64/cells.c
//go:generate go run ../internal/objasm -arch arm64 -mcpu cortex-a53 -o vectors_arm64 ../csrc/arm64/vectors.c
//go:generate go run ../internal/objasm -arch arm64 -o gemv_neon_arm64 ../csrc/arm64/gemv_neon.S
//go:generate go run ../internal/objasm -arch arm64 -o gemv_dotprod_arm64 ../csrc/arm64/gemv_dotprod.S

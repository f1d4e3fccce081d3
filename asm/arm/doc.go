// Package arm holds leaf routines for 32-bit ARM with NEON and VFPv4: no stack, no calls, no checks. Package kernels calls them with lengths
// it has made right, and its portable functions say what each computes, to the bit. They come from asm/csrc/arm through objasm.
//
// k is the table of constants whose rows asm/csrc/arm64/vec.h names; blocks counts hidden units in eights.
//
// The matrix-vector products write, for each of 32*panels rows, the sum over the columns of weight times activation: as int32 where scale
// is nil, otherwise as float32 sum*scale + add, rounded once. w holds the panels, x groups*4 activations, groups is even and not 0.
// Gemv2NEON takes two columns of activations and writes two columns of sums stride bytes apart; or with a scale, the one column
// (sum₀*256 + sum₁)*scale + add, rounded after each addition.
package arm

//go:generate go run ../internal/objasm -arch arm -o cells_arm ../csrc/arm/cells.S
//go:generate go run ../internal/objasm -arch arm -o vectors_arm ../csrc/arm/vectors.S
//go:generate go run ../internal/objasm -arch arm -o gemv_neon_arm ../csrc/arm/gemv_neon.S

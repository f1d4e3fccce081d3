//go:build !purego

package amd64

import "unsafe"

// The matrix-vector products write, for each of 32*panels rows, the sum over the columns of weight times activation: as int32 where
// scale is nil, otherwise as float32 sum*scale + add, rounded once. w holds the panels, x groups*4 activations, groups is even and
// not 0. start holds -128 times the sum of each row's weights. Unless from is nil, they first quantise its cols values by inv into x.
// Those for AVX2 and AVX-512 begin at a cache line, so that what is linked before them does not change how fast their loops are.

//go:noescape
func GemvAVX512VNNI(y unsafe.Pointer, w, x *int8, start *int32, scale, add *float32, groups, panels int, from, inv *float32, cols int)

// GemvBackAVX512VNNI is [GemvAVX512VNNI] from the last weights to the first. scale must not be nil.
//
//go:noescape
func GemvBackAVX512VNNI(y unsafe.Pointer, w, x *int8, start *int32, scale, add *float32, groups, panels int)

// Gemv2AVX512VNNI takes two columns of activations and writes two columns, stride bytes apart; their add lie addStride bytes apart. Where
// stride is 0 and scale is not nil, it writes the one column (sum₀*256 + sum₁)*scale + add, rounded after each addition.
//
//go:noescape
func Gemv2AVX512VNNI(y unsafe.Pointer, stride int, w, x *int8, start *int32, scale, add *float32, groups, panels, addStride int)

// Gemv4AVX512VNNI takes four columns of activations and writes four columns, stride bytes apart, or with pairs two as Gemv2AVX512VNNI
// does; their add lie addStride bytes apart. With pairs, scale must not be nil.
//
//go:noescape
func Gemv4AVX512VNNI(y unsafe.Pointer, stride int, w, x *int8, start *int32, scale, add *float32, groups, panels, addStride int, pairs bool)

// GemvAVXVNNI is [GemvAVX512VNNI] for processors without AVX-512.
//
//go:noescape
func GemvAVXVNNI(y unsafe.Pointer, w, x *int8, start *int32, scale, add *float32, groups, panels int, from, inv *float32, cols int)

// GemvBackAVXVNNI is [GemvBackAVX512VNNI] for processors without AVX-512.
//
//go:noescape
func GemvBackAVXVNNI(y unsafe.Pointer, w, x *int8, start *int32, scale, add *float32, groups, panels int)

// Gemv2AVXVNNI is [Gemv2AVX512VNNI] for processors without AVX-512.
//
//go:noescape
func Gemv2AVXVNNI(y unsafe.Pointer, stride int, w, x *int8, start *int32, scale, add *float32, groups, panels, addStride int)

// GemvAVX2 is [GemvAVX512VNNI] for processors without VNNI, and needs no start.
//
//go:noescape
func GemvAVX2(y unsafe.Pointer, w, x *int8, scale, add *float32, groups, panels int, from, inv *float32, cols int)

// MulAddF32AVX2 writes add plus the product of 32*panels rows with x, column after column, each product and each sum rounded. w holds
// panels of 32 rows: column after column, 32 values each.
//
//go:noescape
func MulAddF32AVX2(y, w, x, add *float32, cols, panels int)

// MulAddF32AVX512 is [MulAddF32AVX2] for AVX-512.
//
//go:noescape
func MulAddF32AVX512(y, w, x, add *float32, cols, panels int)

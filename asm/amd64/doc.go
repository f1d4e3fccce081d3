// Package amd64 holds leaf routines for x86-64: no stack, no calls, no checks. Package kernels calls them with lengths it has made
// right, and its portable functions say what each computes, to the bit.
package amd64

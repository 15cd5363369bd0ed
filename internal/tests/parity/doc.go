// Package parity tests what docs/httprc.md claims: each statement of the contracts of
// httprc v1 and v3, and each of their defects.
package parity

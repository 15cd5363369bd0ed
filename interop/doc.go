// Package interop runs other people's tests and programs against everfresh. It is a
// module of its own, so that nobody who uses everfresh depends on what it compares
// with.
package interop

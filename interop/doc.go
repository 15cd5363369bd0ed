// Package interop runs other people's tests and programs against everfresh. It is a
// module of its own, so that users of everfresh do not depend on what it compares
// with.
package interop

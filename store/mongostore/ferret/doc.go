// Package ferret has the tests of store/mongostore that need a server: an embedded
// FerretDB on SQLite files, so that they run wherever Go does. It is a module of its
// own, for FerretDB brings some fifty others.
//
// FerretDB writes in two steps where MongoDB has one. The tests reach it through a proxy
// that lets in one write at a time, and that can fail on demand.
package ferret

// Package pages tests what README.md and ARCHITECTURE.md claim, and counts the API.
package pages

// Package secrets tests that no text of everfresh holds a secret of a request or of an
// answer.
package secrets

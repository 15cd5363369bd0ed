// Package jwks proves package jwks of everfresh against other JWT libraries: they verify
// with its keys, agree with its verdicts, and are what programs move from.
package jwks

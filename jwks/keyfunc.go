package jwks

import (
	"context"
	"fmt"
)

// Keyfunc returns a function that finds the key of a parsed token by the kid and alg of its
// header. For golang-jwt v5 it is a jwt.Keyfunc:
//
//	jwt.Parse(raw, jwks.Keyfunc(src, func(t *jwt.Token) map[string]any { return t.Header }))
//
// The wait for an unknown key is limited by the timeout of a fetch; see [KeyfuncContext].
func Keyfunc[T any](src KeySource, header func(T) map[string]any) func(T) (any, error) {
	return KeyfuncContext(context.Background(), src, header)
}

// KeyfuncContext is [Keyfunc] for one request: the end of ctx ends the wait.
func KeyfuncContext[T any](ctx context.Context, src KeySource, header func(T) map[string]any) func(T) (any, error) {
	return func(token T) (any, error) {
		h := header(token)
		alg, ok := h["alg"].(string)
		if !ok {
			return nil, fmt.Errorf("jwks: %w: no alg", ErrToken)
		}
		kid, ok := h["kid"].(string)
		if _, named := h["kid"]; named && !ok {
			return nil, fmt.Errorf("jwks: %w: kid is not a string", ErrToken)
		}
		return src.Key(ctx, kid, alg)
	}
}

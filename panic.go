package everfresh

import (
	"fmt"
	"runtime"
	"strings"
)

// A panicError is a recovered panic. The value of a panic can hold a secret, so only the
// runtime's own texts are shown, and where it happened.
type panicError struct {
	what, where string
}

func (e *panicError) Error() string { return "panic: " + e.what + " at " + e.where }

// recovered turns the value of recover into an error. It is called by the deferred
// function itself.
func recovered(v any) error {
	what := fmt.Sprintf("value of type %T", v)
	if re, ok := v.(runtime.Error); ok {
		what = re.Error()
	}
	return &panicError{what: what, where: panicSite()}
}

// panicSite returns the function and line that panicked: the first frame below the
// runtime's own. The deferred function and its helpers stand above them.
func panicSite() string {
	// Deep enough for the deferred functions of this package; callers below do not matter.
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	// The frame after the runtime's is the one that panicked.
	inPanic := false
	for {
		f, more := frames.Next()
		if inPanic && !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", f.Function, f.Line)
		}
		inPanic = inPanic || f.Function == "runtime.gopanic"
		if !more {
			return "unknown place"
		}
	}
}

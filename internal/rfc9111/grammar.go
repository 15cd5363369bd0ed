package rfc9111

import "strings"

// maxSeconds is 2^31, which RFC 9111, section 1.2.2, puts in the place of a
// delta-seconds too large to represent.
const maxSeconds = 1 << 31

// deltaSeconds reads an unsigned number of seconds, digits only, RFC 9111,
// section 1.2.2. It saturates at maxSeconds.
func deltaSeconds(s string) (int64, bool) {
	var n int64
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), maxSeconds)
	}
	return n, s != ""
}

// cutMember splits s at its first comma outside a quoted string.
func cutMember(s string) (member, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		case !quoted && s[i] == ',':
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// cutArgument splits a member at its equals sign. It reports false unless the
// member is token [ "=" ( token / quoted-string ) ], RFC 9111, section 5.2. The
// argument keeps its quotes, and is empty only when there is none.
func cutArgument(m string) (name, arg string, ok bool) {
	name, arg, found := strings.Cut(m, "=")
	if !found {
		return m, "", isToken(m)
	}
	return name, arg, isToken(name) && (isToken(arg) || isQuotedString(arg))
}

// cutToken returns the first run of token characters in s, and what follows it.
func cutToken(s string) (token, rest string) {
	for s != "" && !isTokenByte(s[0]) {
		s = s[1:]
	}
	n := tokenLen(s)
	return s[:n], s[n:]
}

// tokenLen returns how many bytes at the start of s are token characters.
func tokenLen(s string) int {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return i
		}
	}
	return len(s)
}

func isToken(s string) bool {
	return s != "" && tokenLen(s) == len(s)
}

// isTokenByte follows tchar of RFC 9110, section 5.6.2.
func isTokenByte(c byte) bool {
	return isLetter(c) || isDigit(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isLetter(c byte) bool {
	c |= 'a' - 'A'
	return 'a' <= c && c <= 'z'
}

func isDigit(c byte) bool {
	return '0' <= c && c <= '9'
}

// isQuotedString follows RFC 9110, section 5.6.4.
func isQuotedString(s string) bool {
	if !strings.HasPrefix(s, `"`) || strings.ContainsFunc(s, isControl) {
		return false
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i == len(s)-1
		case '\\':
			i++
		}
	}
	return false
}

func isControl(r rune) bool {
	return (r < ' ' && r != '\t') || r == 0x7f
}

// trimOWS drops the blanks that RFC 9110, section 5.5, excludes from a value.
func trimOWS(s string) string {
	return strings.Trim(s, " \t")
}

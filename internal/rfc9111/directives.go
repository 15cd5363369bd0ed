package rfc9111

import (
	"slices"
	"strings"
	"time"

	"github.com/pquerna/cachecontrol/cacheobject"
)

// Directives are the Cache-Control directives of a response, RFC 9111, section
// 5.2.2, with those of RFC 5861 and RFC 8246. The zero value is a response
// without Cache-Control. It is a plain value; only the two field lists share
// memory with its copies.
type Directives struct {
	// MaxAge and SMaxAge are in seconds, from 0 to 2^31. They are 0 when absent;
	// HasMaxAge and HasSMaxAge distinguish that from a 0 that was sent or that stands
	// for an invalid value. Of repeated values the smallest counts.
	MaxAge, SMaxAge       int64
	HasMaxAge, HasSMaxAge bool

	// NoCache and Private are not set by a well-formed qualified form, which
	// restricts only the fields it lists; see NoCacheFields and PrivateFields.
	NoStore, NoCache, Private, Public bool
	MustRevalidate, ProxyRevalidate   bool

	// MustUnderstand lets a cache that knows the status code ignore NoStore, RFC
	// 9111, section 5.2.2.3. That decision is the caller's: [Of] does not make it.
	MustUnderstand bool

	Immutable bool

	// StaleWhileRevalidate and StaleIfError are 0 when absent or malformed.
	StaleWhileRevalidate, StaleIfError time.Duration

	// NoCacheFields and PrivateFields are the header fields that no-cache="..."
	// and private="..." list: canonical, sorted, without duplicates, nil if there
	// are none. The caller owns them.
	NoCacheFields, PrivateFields []string
}

// ParseDirectives reads the lines of a response's Cache-Control field, as in
// h["Cache-Control"]. It never fails: the package comment describes the handling of
// malformed members. Without lines it returns the zero value.
func ParseDirectives(lines []string) Directives {
	var p parser
	for _, line := range lines {
		p.line(line)
	}
	if p.malformed {
		for _, line := range lines {
			p.distrust(line)
		}
	}
	return p.result()
}

// A parser collects the members of all lines. Lines are not joined first: for lines
// that follow the grammar it makes no difference, and an unclosed quote cannot
// swallow the next line.
type parser struct {
	d                        Directives // all but its ages
	maxAge, sMaxAge          age
	whileRevalidate, ifError age
	malformed                bool // a member broke the grammar
}

// An age is a number of seconds that may be absent.
type age struct {
	seconds int64
	set     bool
}

// add adds a value. The smallest value counts.
func (a *age) add(seconds int64) {
	if !a.set || seconds < a.seconds {
		*a = age{seconds: seconds, set: true}
	}
}

func (a *age) duration() time.Duration {
	return time.Duration(a.seconds) * time.Second
}

func (p *parser) result() Directives {
	d := p.d
	d.MaxAge, d.HasMaxAge = p.maxAge.seconds, p.maxAge.set
	d.SMaxAge, d.HasSMaxAge = p.sMaxAge.seconds, p.sMaxAge.set
	d.StaleWhileRevalidate = p.whileRevalidate.duration()
	d.StaleIfError = p.ifError.duration()
	d.NoCacheFields = sortedSet(d.NoCacheFields)
	d.PrivateFields = sortedSet(d.PrivateFields)
	return d
}

func sortedSet(fields []string) []string {
	slices.Sort(fields)
	return slices.Compact(fields)
}

func (p *parser) line(line string) {
	for line != "" {
		var m string
		m, line = cutMember(line)
		if m = trimOWS(m); m != "" {
			p.member(m)
		}
	}
}

// member adds one member. The library's parser only gets members that follow the
// grammar: for more than one it drops the whole field because of one bad member, and
// extends an unquoted field list over the members that follow.
func (p *parser) member(m string) {
	name, arg, ok := cutArgument(m)
	if !ok {
		p.malformed = true
		p.refuseAll(m)
		return
	}
	seconds, numeric := deltaSeconds(strings.Trim(arg, `"`))
	if numeric && name == "max-age" { // a fast path without allocations for almost every response
		p.maxAge.add(seconds)
		return
	}
	one, err := cacheobject.ParseResponseCacheControl(m)
	if err != nil || (hasAge(one) && !numeric) {
		p.refuse(name)
		return
	}
	p.ages(one, seconds)
	p.lists(one, arg)
	p.flags(one)
}

// hasAge reports whether the library found a number for the directive. The number
// itself is limited to 2^31-1 there, and digits that overflow hide garbage after
// them.
func hasAge(one *cacheobject.ResponseCacheDirectives) bool {
	return max(one.MaxAge, one.SMaxAge, one.StaleWhileRevalidate, one.StaleIfError) >= 0
}

func (p *parser) ages(one *cacheobject.ResponseCacheDirectives, seconds int64) {
	if one.MaxAge >= 0 {
		p.maxAge.add(seconds)
	}
	if one.SMaxAge >= 0 {
		p.sMaxAge.add(seconds)
	}
	if one.StaleWhileRevalidate >= 0 {
		p.whileRevalidate.add(seconds)
	}
	if one.StaleIfError >= 0 {
		p.ifError.add(seconds)
	}
}

func (p *parser) lists(one *cacheobject.ResponseCacheDirectives, arg string) {
	if one.NoCachePresent {
		fields, qualified := fieldList(one.NoCache, arg)
		p.d.NoCache = p.d.NoCache || !qualified
		p.d.NoCacheFields = append(p.d.NoCacheFields, fields...)
	}
	if one.PrivatePresent {
		fields, qualified := fieldList(one.Private, arg)
		p.d.Private = p.d.Private || !qualified
		p.d.PrivateFields = append(p.d.PrivateFields, fields...)
	}
}

// fieldList returns the field names of a qualified no-cache or private. It
// reports false unless arg is a quoted list of at least one field name. Escapes
// are rejected, because the library reads \n in a quoted string as a line feed.
func fieldList(names cacheobject.FieldNames, arg string) ([]string, bool) {
	if !strings.HasPrefix(arg, `"`) || strings.Contains(arg, `\`) {
		return nil, false
	}
	var fields []string
	for name := range names {
		if name == "" { // an empty list element, RFC 9110, section 5.6.1.2
			continue
		}
		if !isToken(name) {
			return nil, false
		}
		fields = append(fields, name)
	}
	return fields, len(fields) > 0
}

func (p *parser) flags(one *cacheobject.ResponseCacheDirectives) {
	p.d.NoStore = p.d.NoStore || one.NoStore
	p.d.Public = p.d.Public || one.Public
	p.d.MustRevalidate = p.d.MustRevalidate || one.MustRevalidate
	p.d.ProxyRevalidate = p.d.ProxyRevalidate || one.ProxyRevalidate
	p.d.Immutable = p.d.Immutable || one.Immutable
	// The library is older than RFC 9111 and treats it as an extension.
	p.d.MustUnderstand = p.d.MustUnderstand || slices.Contains(one.Extensions, "must-understand")
}

// refuseAll calls refuse for every word of text, a member that violates the grammar.
func (p *parser) refuseAll(text string) {
	for word, rest := cutToken(text); word != ""; word, rest = cutToken(rest) {
		p.refuse(word)
	}
}

// refuse handles an invalid directive by its name alone.
func (p *parser) refuse(name string) {
	switch strings.ToLower(name) {
	case "max-age":
		p.maxAge.add(0)
	case "s-maxage":
		p.sMaxAge.add(0)
	default:
		p.restrict(name)
	}
}

// distrust finds the restricting directives anywhere in a line, whatever the
// commas and quotes around them mean.
func (p *parser) distrust(line string) {
	for word, rest := cutToken(line); word != ""; word, rest = cutToken(rest) {
		p.restrict(word)
	}
}

// restrict sets the directive if it is one that restricts. Must-understand is not
// among them: it can lift a no-store.
func (p *parser) restrict(name string) {
	switch strings.ToLower(name) {
	case "no-store":
		p.d.NoStore = true
	case "no-cache":
		p.d.NoCache = true
	case "private":
		p.d.Private = true
	case "must-revalidate":
		p.d.MustRevalidate = true
	case "proxy-revalidate":
		p.d.ProxyRevalidate = true
	}
}

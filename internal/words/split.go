package main

import (
	"strings"
	"unicode"
)

// split returns the words of s in lower case. A word ends where its letters do, and
// inside an identifier: before a capital letter that follows a small one, and before
// the last of several capitals that a small letter follows, as in HTTPServer.
func split(s string) []string {
	var words []string
	letters := []rune(s)
	start := 0
	end := func(i int) {
		if i > start {
			words = append(words, strings.ToLower(string(letters[start:i])))
		}
	}
	for i, c := range letters {
		switch {
		case !unicode.IsLetter(c):
			end(i)
			start = i + 1
		case i > start && unicode.IsUpper(c) && !continues(letters, i):
			end(i)
			start = i
		}
	}
	end(len(letters))
	return words
}

// continues reports whether the capital letters[i] belongs to a word that has begun
// before it, such as the P in HTTPServer, or the B in DB.
func continues(letters []rune, i int) bool {
	return unicode.IsUpper(letters[i-1]) && (i+1 == len(letters) || !unicode.IsLower(letters[i+1]))
}

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
)

// allowed are the names that may be declared although they contain a banned word, and
// why.
var allowed = map[string]string{
	"Meta":           "store.Meta is an exported name",
	"MustRevalidate": "the directive must-revalidate of RFC 9111",
	"MustUnderstand": "the directive must-understand of RFC 9111",
}

// goFile returns the findings in a Go file: in comments, in string literals, and in
// the names that it declares. A use of a name is not a finding: if the name is ours, its
// declaration is one, and if it belongs to another package, it cannot be changed here.
func (r rules) goFile(file string, src []byte) ([]finding, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	line := func(n ast.Node) int { return fset.Position(n.Pos()).Line }

	// Comments are not part of the tree of a file.
	var findings []finding
	for _, group := range f.Comments {
		for _, c := range group.List {
			findings = append(findings, r.text(c.Text, line(c))...)
		}
	}

	findings = append(findings, r.name(f.Name, line(f.Name))...)
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			findings = append(findings, r.text(lit.Value, line(lit))...)
		}
		for _, id := range declared(n) {
			findings = append(findings, r.name(id, line(id))...)
		}
		_, imported := n.(*ast.ImportSpec)
		return !imported // the path is the other package's choice
	})
	return findings, nil
}

// name returns the findings in a name that is declared in a line.
func (r rules) name(id *ast.Ident, line int) []finding {
	if allowed[id.Name] != "" {
		return nil
	}
	var findings []finding
	for _, word := range split(id.Name) {
		if _, banned := r[word]; banned {
			findings = append(findings, finding{line, word})
		}
	}
	return findings
}

// declared returns the names that n itself declares.
func declared(n ast.Node) []*ast.Ident {
	switch n := n.(type) {
	case *ast.ImportSpec:
		if n.Name != nil {
			return []*ast.Ident{n.Name}
		}
	case *ast.FuncDecl:
		return []*ast.Ident{n.Name}
	case *ast.TypeSpec:
		return []*ast.Ident{n.Name}
	case *ast.ValueSpec:
		return n.Names
	case *ast.Field:
		return n.Names
	case *ast.LabeledStmt:
		return []*ast.Ident{n.Label}
	case *ast.AssignStmt:
		if n.Tok == token.DEFINE {
			return idents(n.Lhs...)
		}
	case *ast.RangeStmt:
		if n.Tok == token.DEFINE {
			return idents(n.Key, n.Value)
		}
	}
	return nil
}

// idents returns those of the expressions that are names.
func idents(exprs ...ast.Expr) []*ast.Ident {
	var ids []*ast.Ident
	for _, e := range exprs {
		if id, ok := e.(*ast.Ident); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

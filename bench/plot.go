package main

import (
	"fmt"
	"html"
	"maps"
	"math"
	"slices"
	"strings"
)

// A plot is drawn as lines, or as bars if it has any.
type plot struct {
	file, title string
	x, y        string // what the axes show
	logX, logY  bool
	series      []series
	bars        []namedValue
}

// A series is a line.
type series struct {
	name   string
	points []point // by x
}

type point struct{ x, y float64 }

type namedValue struct {
	name  string
	value float64
}

// lineOf returns the figures of candidates by their sizes.
func lineOf(r *groupRun, name string, m metric, candidates map[float64]string) series {
	s := series{name: name}
	for _, x := range slices.Sorted(maps.Keys(candidates)) {
		s.points = append(s.points, point{x, r.median(candidates[x], m)})
	}
	return s
}

func barOf(r *groupRun, name, candidate string, m metric) namedValue {
	return namedValue{name, r.median(candidate, m)}
}

// burstLineOf returns the requests of each second.
func burstLineOf(r *groupRun) series {
	s := series{name: "requests that the origin sees"}
	for cycle, candidate := range []string{"first", "second"} {
		for i := range burstCycle {
			if v := r.median(candidate, metric{of: field(i)}); !math.IsNaN(v) {
				s.points = append(s.points, point{float64(cycle*burstCycle + i), v})
			}
		}
	}
	return s
}

// The drawing's measures, in pixels.
const (
	plotWidth  = 560.0
	plotHeight = 320.0
	plotLeft   = 70.0
	plotTop    = 40.0
	plotRight  = 40.0
	plotBottom = 50.0
	barLeft    = 200.0
	barHeight  = 16.0
	barStep    = 24.0
)

var (
	inks   = []string{"#1b4f72", "#b03a2e", "#1e6e3c"}
	dashes = []string{"none", "6 3", "2 3"}
)

// An axis maps figures to pixels.
type axis struct {
	log      bool
	from, to float64 // figures
	at, end  float64 // pixels
}

// axisOf returns an axis that begins at a round figure, at 0 unless it is logarithmic, and
// ends at one.
func axisOf(vs []float64, log bool, at, end float64) axis { //nolint:revive // The flag says what kind of axis it is.
	least, most := slices.Min(vs), slices.Max(vs)
	if log {
		from := math.Pow(10, math.Floor(math.Log10(least)))
		return axis{log, from, max(math.Pow(10, math.Ceil(math.Log10(most))), 10*from), at, end}
	}
	step := stepOf(most)
	return axis{log, 0, step * math.Ceil(most/step), at, end}
}

// stepOf returns a round distance of about five marks up to most.
func stepOf(most float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(most/2)))
	for _, f := range []float64{5, 2} {
		if most/(f*step) >= 4 {
			return f * step
		}
	}
	return step
}

func (a axis) pixel(v float64) float64 {
	part := (v - a.from) / (a.to - a.from)
	if a.log {
		part = math.Log(v/a.from) / math.Log(a.to/a.from)
	}
	return a.at + part*(a.end-a.at)
}

// marks returns the figures to write at the axis.
func (a axis) marks() []float64 {
	var marks []float64
	if a.log {
		for v := a.from; v <= a.to*1.01; v *= 10 {
			marks = append(marks, v)
		}
		return marks
	}
	step := stepOf(a.to)
	for i := 0.0; i*step <= a.to*1.001; i++ {
		marks = append(marks, i*step)
	}
	return marks
}

// A canvas is an SVG in the making.
type canvas struct{ strings.Builder }

func (c *canvas) begin(width, height float64, title string) {
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="sans-serif" font-size="12" fill="#222">`+"\n",
		width, height, width, height)
	fmt.Fprintf(c, `<rect width="%.0f" height="%.0f" fill="#fff"/>`+"\n", width, height)
	c.text(width/2, 20, "middle", title)
}

func (c *canvas) text(x, y float64, anchor, s string) {
	fmt.Fprintf(c, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(s))
}

func (c *canvas) line(x1, y1, x2, y2 float64, ink string) {
	fmt.Fprintf(c, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, ink)
}

// svg returns the drawing.
func (p plot) svg() string {
	c := new(canvas)
	if p.bars != nil {
		p.drawBars(c)
	} else {
		p.drawLines(c)
	}
	c.WriteString("</svg>\n")
	return c.String()
}

func (p plot) drawLines(c *canvas) {
	var xs, ys []float64
	for _, s := range p.series {
		for _, pt := range s.points {
			xs, ys = append(xs, pt.x), append(ys, pt.y)
		}
	}
	x := axisOf(xs, p.logX, plotLeft, plotWidth-plotRight)
	y := axisOf(ys, p.logY, plotHeight-plotBottom, plotTop)
	c.begin(plotWidth, plotHeight, p.title)
	for _, v := range x.marks() {
		c.line(x.pixel(v), y.at, x.pixel(v), y.end, "#ddd")
		c.text(x.pixel(v), y.at+16, "middle", plotFigure(v))
	}
	for _, v := range y.marks() {
		c.line(x.at, y.pixel(v), x.end, y.pixel(v), "#ddd")
		c.text(x.at-6, y.pixel(v)+4, "end", plotFigure(v))
	}
	c.text((x.at+x.end)/2, plotHeight-12, "middle", p.x)
	fmt.Fprintf(c, `<text transform="translate(14 %.1f) rotate(-90)" text-anchor="middle">%s</text>`+"\n",
		(y.at+y.end)/2, html.EscapeString(p.y))
	for i, s := range p.series {
		p.drawSeries(c, i, s, x, y)
	}
}

// drawSeries draws a line, and its name into the upper left corner.
func (p plot) drawSeries(c *canvas, i int, s series, x, y axis) {
	const manyPoints = 20 // need no dots
	var path []string
	for _, pt := range s.points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.pixel(pt.x), y.pixel(pt.y)))
		if len(s.points) < manyPoints {
			fmt.Fprintf(c, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x.pixel(pt.x), y.pixel(pt.y), inks[i])
		}
	}
	stroke := fmt.Sprintf(`fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s"`, inks[i], dashes[i])
	fmt.Fprintf(c, `<polyline points="%s" %s/>`+"\n", strings.Join(path, " "), stroke)
	top := plotTop + 12 + 16*float64(i)
	fmt.Fprintf(c, `<polyline points="%.1f,%.1f %.1f,%.1f" %s/>`+"\n", x.at+8, top-4, x.at+32, top-4, stroke)
	c.text(x.at+38, top, "start", s.name)
}

func (p plot) drawBars(c *canvas) {
	vs := make([]float64, len(p.bars))
	for i, b := range p.bars {
		vs[i] = b.value
	}
	bottom := plotTop + barStep*float64(len(p.bars))
	x := axisOf(vs, false, barLeft, plotWidth-plotRight-50)
	c.begin(plotWidth, bottom+plotBottom, p.title)
	for _, v := range x.marks() {
		c.line(x.pixel(v), plotTop-4, x.pixel(v), bottom, "#ddd")
		c.text(x.pixel(v), bottom+16, "middle", plotFigure(v))
	}
	c.text((x.at+x.end)/2, bottom+38, "middle", p.x)
	for i, b := range p.bars {
		top := plotTop + barStep*float64(i)
		ink := inks[0]
		if !strings.HasPrefix(b.name, "everfresh") {
			ink = "#888"
		}
		fmt.Fprintf(c, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x.at, top, x.pixel(b.value)-x.at, barHeight, ink)
		c.text(x.at-6, top+12, "end", b.name)
		c.text(x.pixel(b.value)+4, top+12, "start", figure(b.value))
	}
}

// plotFigure writes a round figure.
func plotFigure(v float64) string {
	if v >= 1000 {
		return thousands(fmt.Sprintf("%.0f", v))
	}
	return fmt.Sprintf("%g", math.Round(v*1e6)/1e6)
}

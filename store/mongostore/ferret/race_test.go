//go:build race

package ferret_test

const raceDetector = true

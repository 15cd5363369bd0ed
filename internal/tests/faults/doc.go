// Package faults tests everfresh as a whole while origins, networks and processes fail.
package faults

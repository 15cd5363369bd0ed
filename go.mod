module github.com/everfresh-go/everfresh

go 1.25.0

require (
	github.com/pquerna/cachecontrol v0.2.0
	github.com/puzpuzpuz/xsync/v4 v4.5.0
	golang.org/x/net v0.52.0
)

require (
	github.com/stretchr/testify v1.12.1 // indirect
	golang.org/x/text v0.35.0 // indirect
)

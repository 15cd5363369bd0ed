module github.com/everfresh-go/everfresh/store/boltstore

go 1.26

require (
	github.com/everfresh-go/everfresh v0.0.0
	go.etcd.io/bbolt v1.5.0
)

require (
	github.com/pquerna/cachecontrol v0.2.0 // indirect
	github.com/puzpuzpuz/xsync/v4 v4.5.0 // indirect
	go.yaml.in/yaml/v3 v3.0.6 // indirect
	golang.org/x/net v0.52.0 // indirect
	golang.org/x/sys v0.45.0 // indirect
	golang.org/x/text v0.35.0 // indirect
)

replace github.com/everfresh-go/everfresh => ../..

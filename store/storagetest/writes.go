package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/everfresh-go/everfresh/store"
)

func checkUnconditional(ctx context.Context, s store.Storage, _ config) error {
	for _, cond := range []store.Condition{store.Any(), {}} {
		for _, value := range []string{"new", "replaced"} {
			if _, err := s.Store(ctx, "k", []byte(value), cond); err != nil {
				return fmt.Errorf("store it: %w", err)
			}
			if err := wantValue(ctx, s, "k", value); err != nil {
				return err
			}
		}
		for range 2 {
			if err := s.Delete(ctx, "k", cond); err != nil {
				return fmt.Errorf("delete it: %w", err)
			}
		}
	}
	return nil
}

// putOldNew stores k twice and returns both versions. The newer one is current.
func putOldNew(ctx context.Context, s store.Storage) (older, newer store.Version, err error) {
	older, errOld := put(ctx, s, "k", "old")
	newer, errNew := put(ctx, s, "k", "new")
	return older, newer, errors.Join(errOld, errNew)
}

func checkStoreConflict(ctx context.Context, s store.Storage, _ config) error {
	older, newer, err := putOldNew(ctx, s)
	if err != nil {
		return err
	}
	for _, cond := range []store.Condition{store.IfAbsent(), store.IfVersion(older), store.IfVersion("unheard of")} {
		version, err := s.Store(ctx, "k", []byte("wrong"), cond)
		if err := wantConflict(err); err != nil {
			return fmt.Errorf("%+v: %w", cond, err)
		}
		if version != "" {
			return fmt.Errorf("%+v: the version is %q, want none", cond, version)
		}
	}
	if err := wantValue(ctx, s, "k", "new"); err != nil {
		return err
	}
	if _, err := s.Store(ctx, "absent", nil, store.IfVersion(newer)); wantConflict(err) != nil {
		return fmt.Errorf("absent key: %w", wantConflict(err))
	}
	if err := wantKeys(ctx, s, "", "k"); err != nil {
		return err
	}
	_, errReplace := s.Store(ctx, "k", nil, store.IfVersion(newer)) // the conditions of these hold
	_, errCreate := s.Store(ctx, "absent", nil, store.IfAbsent())
	return errors.Join(errReplace, errCreate)
}

func checkDeleteConflict(ctx context.Context, s store.Storage, _ config) error {
	older, newer, err := putOldNew(ctx, s)
	if err != nil {
		return err
	}
	for _, cond := range []store.Condition{store.IfAbsent(), store.IfVersion(older), store.IfVersion("unheard of")} {
		if err := wantConflict(s.Delete(ctx, "k", cond)); err != nil {
			return fmt.Errorf("%+v: %w", cond, err)
		}
	}
	if err := wantValue(ctx, s, "k", "new"); err != nil {
		return err
	}
	return s.Delete(ctx, "k", store.IfVersion(newer))
}

func checkCurrent(ctx context.Context, s store.Storage, _ config) error {
	older, newer, err := putOldNew(ctx, s)
	if err != nil {
		return err
	}
	_, errCreate := s.Store(ctx, "k", nil, store.IfAbsent())
	_, errReplace := s.Store(ctx, "k", nil, store.IfVersion(older))
	_, errAbsent := s.Store(ctx, "absent", nil, store.IfVersion(newer))
	return errors.Join(
		wantCurrent(errCreate, newer),
		wantCurrent(errReplace, newer),
		wantCurrent(errAbsent, ""),
		wantCurrent(s.Delete(ctx, "k", store.IfAbsent()), newer),
		wantCurrent(s.Delete(ctx, "k", store.IfVersion(older)), newer),
	)
}

func checkOneStoreWins(ctx context.Context, s store.Storage, _ config) error {
	return oneStoreWins(ctx, s)
}

// oneStoreWins lets 64 goroutines, spread over the handles of one place, replace the
// same version. The first round creates the key.
func oneStoreWins(ctx context.Context, handles ...store.Storage) error {
	version := store.Version("")
	for range 8 {
		cond := store.IfVersion(version)
		won := make([]store.Version, 64)
		err := race(len(won), func(i int) error {
			v, err := handles[i%len(handles)].Store(ctx, "k", []byte{byte(i)}, cond)
			if err != nil {
				return wantConflict(err)
			}
			won[i] = v
			return nil
		})
		if err != nil {
			return err
		}
		isWinner := func(v store.Version) bool { return v != "" }
		winner := slices.IndexFunc(won, isWinner)
		if winner < 0 || slices.ContainsFunc(won[winner+1:], isWinner) {
			return fmt.Errorf("of %d Stores not exactly one succeeded: %q", len(won), won)
		}
		if err := wantValue(ctx, handles[0], "k", string([]byte{byte(winner)})); err != nil {
			return err
		}
		version = won[winner]
	}
	return nil
}

func checkStoreOrDelete(ctx context.Context, s store.Storage, _ config) error {
	for round := range 32 {
		version, err := put(ctx, s, "k", "old")
		if err != nil {
			return err
		}
		cond := store.IfVersion(version)
		errs := make([]error, 2)
		err = race(2, func(i int) error {
			if i == round%2 { // either may be the one that tends to run first
				_, errs[i] = s.Store(ctx, "k", []byte("new"), cond)
			} else {
				errs[i] = s.Delete(ctx, "k", cond)
			}
			if errs[i] != nil {
				return wantConflict(errs[i])
			}
			return nil
		})
		if err != nil {
			return err
		}
		if (errs[0] == nil) == (errs[1] == nil) {
			return fmt.Errorf("round %d: the errors of the two are %v", round, errs)
		}
	}
	return nil
}

func checkDelete(ctx context.Context, s store.Storage, _ config) error {
	for _, conditional := range []bool{false, true} {
		version, err := put(ctx, s, "k", "v")
		if err != nil {
			return err
		}
		cond := store.Any()
		if conditional {
			cond = store.IfVersion(version)
		}
		if err := s.Delete(ctx, "k", cond); err != nil {
			return err
		}
		if _, err := s.Load(ctx, "k"); wantErr(err, store.ErrNotFound) != nil {
			return wantErr(err, store.ErrNotFound)
		}
		if err := wantKeys(ctx, s, ""); err != nil {
			return err
		}
	}
	return nil
}

func checkDeleteAbsent(ctx context.Context, s store.Storage, _ config) error {
	version, err := put(ctx, s, "other", "v")
	if err != nil {
		return err
	}
	for _, cond := range []store.Condition{store.Any(), store.IfAbsent(), store.IfVersion(version)} {
		if err := s.Delete(ctx, "k", cond); err != nil {
			return fmt.Errorf("%+v: %w", cond, err)
		}
	}
	return wantKeys(ctx, s, "", "other")
}

func checkFreshVersions(ctx context.Context, s store.Storage, _ config) error {
	seen := make(map[store.Version]bool)
	for i := range 30 {
		if err := putFresh(ctx, s, seen); err != nil {
			return err
		}
		if i%3 == 2 {
			if err := s.Delete(ctx, "k", store.Any()); err != nil {
				return err
			}
		}
	}
	return nil
}

// putFresh stores the same value under k each time and adds its version to seen.
func putFresh(ctx context.Context, s store.Storage, seen map[store.Version]bool) error {
	version, err := put(ctx, s, "k", "always the same")
	if err != nil {
		return err
	}
	if seen[version] {
		return fmt.Errorf("version %q was reused", version)
	}
	seen[version] = true
	return nil
}

func checkSameVersion(ctx context.Context, s store.Storage, _ config) error {
	for _, key := range []string{"a", "b", "a"} {
		version, err := put(ctx, s, key, "")
		if err != nil {
			return err
		}
		if version == "" {
			return errors.New("the version from Store is empty")
		}
		if err := wantVersion(ctx, s, key, version); err != nil {
			return err
		}
	}
	return nil
}

// wantVersion fails unless Load and List of key return the version want.
func wantVersion(ctx context.Context, s store.Storage, key string, want store.Version) error {
	item, err := s.Load(ctx, key)
	if err != nil {
		return err
	}
	for info, err := range s.List(ctx, key) {
		if err != nil {
			return err
		}
		if info.Version != want || item.Version != want {
			return fmt.Errorf("%q was given by Store, %q by Load, %q by List", want, item.Version, info.Version)
		}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package pgserver

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Kill ends some connections of control planes to a database, whatever they are doing, and returns how many.
func (s *Server) Kill(ctx context.Context, url string, most int) (killed int, err error) {
	err = run(ctx, url, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity "+
			"WHERE datname = current_database() AND application_name = 'penstock-controlplane' ORDER BY random() LIMIT $1) AS victims", most).Scan(&killed)
	})
	return killed, err
}

// SlowCommits makes about one commit in a hundred to the revision log of a database wait up to 2 ms after its last
// statement and before it is seen, which is when an order that is not the order of the commits shows.
func (s *Server) SlowCommits(ctx context.Context, url string) error {
	return run(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `
CREATE OR REPLACE FUNCTION controlplane.slow_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF random() < 0.01 THEN PERFORM pg_sleep(random() * 0.002); END IF;
  RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS slow_commit ON controlplane.change;
CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON controlplane.change
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION controlplane.slow_commit();`)
		return err
	})
}

// Deafen ends every connection that listens for notifications of a database, each 5 ms until ctx ends, and returns how
// many it ended.
func Deafen(ctx context.Context, url string) (ended int, err error) {
	err = run(ctx, url, func(conn *pgx.Conn) error {
		return poll(ctx, func() (bool, error) {
			var n int
			err := conn.QueryRow(context.WithoutCancel(ctx), "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "+
				"WHERE datname = current_database() AND query LIKE 'LISTEN %'").Scan(&n)
			ended += n
			return false, err
		})
	})
	if ctx.Err() != nil {
		err = nil // that is how it ends
	}
	return ended, err
}

// Save copies a database to a new one of the same server, as a backup, once nobody is connected to it.
func Save(ctx context.Context, url, backup string) error {
	return alone(ctx, url, func(conn *pgx.Conn, name string) error {
		return statements(ctx, conn, "CREATE DATABASE "+pgx.Identifier{backup}.Sanitize()+" TEMPLATE "+name)
	})
}

// Restore replaces a database by what Save copied, once nobody is connected to it.
func Restore(ctx context.Context, url, backup string) error {
	return alone(ctx, url, func(conn *pgx.Conn, name string) error {
		return statements(ctx, conn, "DROP DATABASE "+name, "CREATE DATABASE "+name+" TEMPLATE "+pgx.Identifier{backup}.Sanitize())
	})
}

// alone runs do on a connection to another database of the server, with the quoted name of the database, when nobody is
// connected to that one.
func alone(ctx context.Context, url string, do func(conn *pgx.Conn, name string) error) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("parse the database's URL: %w", err)
	}
	name := cfg.Database
	cfg.Database = superuser // each server has it
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it did its statements
	err = poll(ctx, func() (bool, error) {
		var n int
		err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", name).Scan(&n)
		return n == 0, err
	})
	if err != nil {
		return fmt.Errorf("wait until nobody is connected to %s: %w", name, err)
	}
	return do(conn, pgx.Identifier{name}.Sanitize())
}

func statements(ctx context.Context, conn *pgx.Conn, list ...string) error {
	for _, s := range list {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// poll asks each 5 ms until it is so or ctx ends.
func poll(ctx context.Context, so func() (bool, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := so(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func run(ctx context.Context, url string, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it did its statement
	return do(conn)
}

<?php

declare(strict_types=1);

/**
 * How to reach the database: from the environment, never from a file in this repository.
 *
 * DATABASE_URL (postgresql://user:password@host:port/name?host=/socket/folder) wins over
 * DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASSWORD.
 *
 * @return array{dsn: string, user: string, password: ?string}
 */
return (static function (): array {
    $settings = [
        'host' => getenv('DB_HOST') ?: 'localhost',
        'port' => getenv('DB_PORT') ?: '5432',
        'dbname' => getenv('DB_NAME') ?: 'tms',
    ];
    $user = getenv('DB_USER') ?: 'tms_app';
    $password = getenv('DB_PASSWORD') ?: null;

    $url = getenv('DATABASE_URL') ?: '';
    if ($url !== '') {
        // parse_url() refuses an empty host, which means "the socket named in the query".
        $parts = parse_url(preg_replace('~^(\w+://(?:[^/@]*@)?)/~', '$1localhost/', $url));
        parse_str($parts['query'] ?? '', $query);
        $settings = [
            'host' => $query['host'] ?? $parts['host'],
            'port' => (string) ($query['port'] ?? $parts['port'] ?? '5432'),
            'dbname' => rawurldecode(ltrim($parts['path'] ?? '/tms', '/')),
        ];
        $user = rawurldecode($parts['user'] ?? $query['user'] ?? $user);
        $password = isset($parts['pass']) ? rawurldecode($parts['pass']) : $password;
    }

    $dsn = 'pgsql:' . implode(';', array_map(
        static fn (string $key, string $value): string => "$key=$value",
        array_keys($settings),
        $settings,
    ));
    return ['dsn' => $dsn, 'user' => $user, 'password' => $password];
})();

<?php

declare(strict_types=1);

namespace Tms;

use PDO;

/** One connection that always acts as a role of the request, never as the role that logged in. */
final class Database
{
    private PDO $connection;

    public function __construct()
    {
        $config = require dirname(__DIR__) . '/config/database.php';
        $this->connection = new PDO($config['dsn'], $config['user'], $config['password'], [
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
            PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
            PDO::ATTR_TIMEOUT => 5,
        ]);
    }

    /**
     * The rows that `$sql` gives to this role and user; row security decides what they may see.
     *
     * @param array<string, mixed> $values
     * @return list<array<string, mixed>>
     */
    public function rowsAs(string $role, ?string $userId, string $sql, array $values = []): array
    {
        if (!in_array($role, ['anon', 'authenticated', 'service_role'], true)) {
            throw new \InvalidArgumentException("unknown role: $role");
        }
        $this->connection->beginTransaction();
        try {
            $claims = json_encode(array_filter(['sub' => $userId, 'role' => $role]));
            $this->connection
                ->prepare("SELECT set_config('request.jwt.claims', :claims, true)")
                ->execute(['claims' => $claims]);
            $this->connection->exec("SET LOCAL ROLE $role");
            $statement = $this->connection->prepare($sql);
            $statement->execute($values);
            return $statement->fetchAll();
        } finally {
            $this->connection->rollBack();
        }
    }
}

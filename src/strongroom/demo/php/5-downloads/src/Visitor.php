<?php

declare(strict_types=1);

namespace Tms;

/** Whoever asks: signed in or not. Sessions are PHP's own; their id changes at every sign-in. */
final class Visitor
{
    // What nobody's password verifies against, so that unknown addresses take as long as known ones.
    private const NOBODY = '$2y$10$C6UzMDM.H6dfI/f/IKcEeO7ZBb2yWvHcYHqg4kEr0mYjLrJzB2Z9K';

    public function __construct()
    {
        session_start(['cookie_httponly' => true, 'cookie_samesite' => 'Strict', 'use_strict_mode' => true]);
    }

    public function id(): ?string
    {
        return $_SESSION['user_id'] ?? null;
    }

    public function name(): string
    {
        return $_SESSION['name'] ?? '';
    }

    /** What a form of ours carries, and a form of another site cannot. */
    public function token(): string
    {
        return $_SESSION['token'] ??= bin2hex(random_bytes(16));
    }

    public function sent(string $token): bool
    {
        return hash_equals($this->token(), $token);
    }

    public function signIn(Database $database, string $email, string $password): bool
    {
        $found = $database->rowsAs(
            'service_role',
            null,
            'SELECT u.id, u.display_name, c.password_hash FROM public.users u'
            . ' JOIN private.credentials c ON c.user_id = u.id WHERE lower(u.email) = lower(:email)',
            ['email' => $email],
        );
        $known = password_verify($password, $found[0]['password_hash'] ?? self::NOBODY);
        if (!$known || $found === []) {
            return false;
        }
        session_regenerate_id(true);
        $_SESSION = ['user_id' => $found[0]['id'], 'name' => $found[0]['display_name']];
        return true;
    }
}

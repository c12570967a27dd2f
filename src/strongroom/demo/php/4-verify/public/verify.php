<?php

declare(strict_types=1);

require dirname(__DIR__) . '/src/Database.php';

$code = (string) ($_GET['code'] ?? '');
$found = [];
if (preg_match('/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/', $code) === 1) {
    $found = (new Tms\Database())->rowsAs(
        'anon',
        null,
        'SELECT number, title, issued_on, expires_on, status FROM public.certificate_verification'
        . ' WHERE verification_code = :code',
        ['code' => $code],
    );
}
http_response_code($found === [] ? 404 : 200);
header('Content-Type: application/json');
echo json_encode($found[0] ?? ['status' => 'unknown']);

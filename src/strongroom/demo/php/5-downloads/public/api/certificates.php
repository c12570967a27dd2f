<?php

declare(strict_types=1);

/** GET /api/certificates.php: the certificates of whoever is signed in, with the hash of each paper. */

require dirname(__DIR__, 2) . '/src/Database.php';
require dirname(__DIR__, 2) . '/src/Visitor.php';
require dirname(__DIR__, 2) . '/src/Certificates.php';

$visitor = new Tms\Visitor();
header('Content-Type: application/json');
header('Cache-Control: no-store');
if ($visitor->id() === null) {
    http_response_code(401);
    exit(json_encode(['error' => 'sign in first']));
}
$certificates = (new Tms\Certificates(new Tms\Database(), $visitor->id()))->all();
echo json_encode(['trainee' => $visitor->name(), 'certificates' => $certificates], JSON_UNESCAPED_UNICODE);

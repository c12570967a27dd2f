<?php

declare(strict_types=1);

/**
 * GET backup-health.php: do the backups stand as was promised? For monitors: 200 for `pass` and
 * `warn`, 503 for `fail` and for whatever is not known.
 *
 * Put it beside health-snippet.php, which says where the status file is looked for. It is no page
 * for a load balancer: an application whose backups fail still serves.
 */

ini_set('display_errors', '0'); // an error of PHP's would name paths
http_response_code(503); // until something better is known
header_remove('X-Powered-By');
header('Content-Type: application/health+json');
header('Cache-Control: no-store');
header('X-Content-Type-Options: nosniff');

require_once __DIR__ . '/health-snippet.php';

if (!in_array($_SERVER['REQUEST_METHOD'] ?? '', ['GET', 'HEAD'], true)) {
    http_response_code(405);
    header('Allow: GET, HEAD');
    exit;
}
$health = strongroom_backup_health();
http_response_code($health['status'] === 'fail' ? 503 : 200);
echo json_encode($health, JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES), "\n";

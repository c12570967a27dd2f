<?php

declare(strict_types=1);

/**
 * GET /api/health.php: is the application fit to serve? 200 with "ok", or 503 with what is wrong.
 *
 * Checked: the database answers and has courses; the folders for uploads are there and can be read.
 * Told beside: how the backups stand. Without them the application still serves.
 */

require_once dirname(__DIR__) . '/src/Database.php';
require_once __DIR__ . '/health-snippet.php';

$checks = [];
try {
    $rows = (new Tms\Database())->rowsAs('anon', null, 'SELECT count(*) AS courses FROM public.courses');
    $courses = (int) $rows[0]['courses'];
    $checks['database'] = ['ok' => $courses > 0, 'courses' => $courses];
} catch (Throwable $error) {
    error_log('health: ' . $error->getMessage());
    $checks['database'] = ['ok' => false, 'error' => 'no connection or no table'];
}

$uploads = getenv('UPLOADS_PATH') ?: dirname(__DIR__) . '/uploads';
foreach (['lpos', 'certificates', 'invoices', 'quotes'] as $folder) {
    $checks["uploads/$folder"] = ['ok' => is_dir("$uploads/$folder") && is_readable("$uploads/$folder")];
}

$checks['backup'] = ['ok' => true] + strongroom_backup_for_health();

$healthy = !in_array(false, array_column($checks, 'ok'), true);
http_response_code($healthy ? 200 : 503);
header('Content-Type: application/json');
header('Cache-Control: no-store');
echo json_encode(['status' => $healthy ? 'ok' : 'failing', 'checks' => $checks], JSON_UNESCAPED_SLASHES);

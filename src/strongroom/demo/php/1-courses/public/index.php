<?php

declare(strict_types=1);

$config = require dirname(__DIR__) . '/config/database.php';
$database = new PDO($config['dsn'], $config['user'], $config['password'], [
    PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
    PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
]);
$database->exec('SET ROLE anon');
$courses = $database->query('SELECT code, title, price FROM courses ORDER BY title')->fetchAll();
?>
<!doctype html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <title>Courses</title>
    <link rel="stylesheet" href="/assets/css/app.css">
</head>
<body>
<h1>Courses</h1>
<ul>
<?php foreach ($courses as $course): ?>
    <li><?= htmlspecialchars("{$course['code']} {$course['title']}") ?>, AED <?= $course['price'] ?></li>
<?php endforeach ?>
</ul>
</body>
</html>
